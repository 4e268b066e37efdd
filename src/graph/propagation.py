"""How the channel dimension of a tensor passes through a network.

`propagate` walks an fx graph and gives each tensor its `Channels`; the rules for modules and functions stand in
`module_rules`, `function_rules` and `shape_rules`. An op without a rule freezes the groups that it touches.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase

from src.graph.segments import Segments, WidthVariables
from src.graph.tracing import Trace


@dataclass(frozen=True)
class Channels:
    """Where the channels of a tensor lie, and whose they are.

    `split` > 1: the dimension has been viewed as (split, rest) at `axis`, `axis` + 1 (the middle of a channel shuffle);
    `shuffled`: those two have been transposed.
    """

    axis: int
    segments: Segments
    split: int = 1
    shuffled: bool = False


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer, as often as it is called: what costs MACs."""

    name: str
    kind: str  # conv, grouped, depthwise, transposed, linear, or functional (a weight that no layer holds)
    inputs: Segments
    outputs: Segments
    groups: int
    kernel: int  # positions of the kernel (1 for linear)
    positions: int  # output positions for one image (input positions for a transposed convolution)


@dataclass
class Slot:
    """A dimension of a parameter or buffer that follows a width: size = size of `segments` / `divisor`."""

    tensor: str
    dim: int
    segments: Segments
    divisor: int = 1


@dataclass
class Propagation:
    """The state of a walk: what has been found so far."""

    model: nn.Module
    widths: WidthVariables = field(default_factory=WidthVariables)
    layers: list[Layer] = field(default_factory=list)
    slots: dict[tuple[str, int], Slot] = field(default_factory=dict)
    norms: dict[str, Segments] = field(default_factory=dict)  # group and layer norms, which may have no vectors
    unknown: dict[str, str] = field(default_factory=dict)  # op -> the first module that it stands in
    seen: set[str] = field(default_factory=set)  # leaf modules that the walk has come to
    channels: dict[fx.Node, Any] = field(default_factory=dict)  # of the walk under way
    trace: Trace | None = None

    def shape(self, node: fx.Node) -> Any:
        return self.trace.shapes.get(node)

    def of(self, value: Any) -> Channels | None:
        found = self.channels.get(value) if isinstance(value, fx.Node) else None
        return found if isinstance(found, Channels) else None

    def bind(self, tensor: str, dim: int, segments: Segments, divisor: int = 1) -> None:
        """`dim` of a parameter or buffer has the size of `segments`; a second binding ties both.

        What cannot be resized keeps its width, and with it all that is tied to it.
        """
        if not self.resizable(tensor) and not self.frozen(segments):
            self.unknown.setdefault(f"{tensor} (fixed or shared values)", self.trace.module_of_tensor(tensor))
            self.widths.freeze(segments, f"{tensor} holds fixed or shared values")
        slot = self.slots.setdefault((tensor, dim), Slot(tensor, dim, segments, divisor))
        if slot.segments is not segments:
            self.widths.unify(slot.segments, segments, f"{tensor} is shared by layers of different widths")

    def check(self, node: fx.Node) -> None:
        """Raises `Unknown` where the channels that a rule gave do not have the size that the tensor has."""
        found = self.of(node)
        if found is None:
            return
        shape, size = self.shape(node), self.widths.size(self.widths.resolve(found.segments))
        parts = (found.split, size) if not found.shuffled else (size, found.split)
        expected = parts if found.split > 1 else (size,)
        if not _is_shape(shape) or tuple(shape[found.axis : found.axis + len(expected)]) != expected:
            raise Unknown("in a way that changes the channels")

    def resizable(self, tensor: str) -> bool:
        """Whether `tensor` may get another shape: a parameter that is trained, or statistics of a normalisation.

        Not: an attribute that is just a tensor, fixed values (a blur kernel, a position code), and a parameter that
        several modules share or that another one computes.
        """
        owner, _, name = tensor.rpartition(".")
        module = self.model.get_submodule(owner)
        if name in module._buffers:
            values = module._buffers[name]
            return isinstance(module, _NormBase) or values is None or bool((values == values.flatten()[:1]).all())
        parameter = module._parameters.get(name)
        return parameter is not None and parameter.requires_grad and id(parameter) not in self.shared

    @cached_property
    def shared(self) -> set[int]:
        """The parameters that are registered under several names."""
        seen = Counter(id(p) for _, p in self.model.named_parameters(remove_duplicate=False))
        return {key for key, count in seen.items() if count > 1}

    def frozen(self, segments: Segments) -> bool:
        return all(self.widths.variables[variable].frozen for variable, _ in self.widths.resolve(segments))

    def bound(self, tensor: str, dim: int) -> Segments | None:
        """The segments that `dim` of a parameter was bound to before (a module that is called twice)."""
        slot = self.slots.get((tensor, dim))
        return slot.segments if slot else None

    def fixed(self, node: fx.Node, axis: int, reason: str) -> Channels | None:
        """The channels of a tensor whose width follows from nothing that is searched."""
        shape = self.shape(node)
        if not _is_shape(shape) or len(shape) <= axis:
            return None
        return Channels(axis, self.widths.new(node.name, shape[axis], frozen=reason))

    def give_up(self, node: fx.Node, op: str) -> Any:
        """The unknown-op rule: freezes the groups that `node` touches."""
        inputs = [self.of(value) for value in node.all_input_nodes]
        touched = [found for found in inputs if found]
        if not touched:
            return None
        self.unknown.setdefault(op, self.trace.module_of(node))
        for found in touched:
            self.widths.freeze(found.segments, f"the op {op!r} is not known")
        return self._fixed_like(node, touched[0].axis, f"it comes out of the op {op!r}")

    def _fixed_like(self, node: fx.Node, axis: int, reason: str) -> Any:
        shape = self.shape(node)
        if isinstance(shape, tuple) and shape and not _is_shape(shape):
            return tuple(
                Channels(axis, self.widths.new(node.name, item[axis], frozen=reason))
                if _is_shape(item) and len(item) > axis
                else None
                for item in shape
            )
        return self.fixed(node, axis, reason)


Rule = Callable[[Propagation, fx.Node], Any]


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(size, int) for size in value)


def registry() -> tuple[dict[str, Rule], Callable[[str], Callable[[Rule], Rule]]]:
    """A table of rules for functions and methods by name, and the decorator `names -> rule` that fills it."""
    rules: dict[str, Rule] = {}

    def rule_for(names: str) -> Callable[[Rule], Rule]:
        def register(rule: Rule) -> Rule:
            rules.update(dict.fromkeys(names.split(), rule))
            return rule

        return register

    return rules, rule_for


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """An argument of a call, given by position or by name."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


class Unknown(Exception):
    """Raised by a rule that meets a use of its op that it does not know."""


def propagate(
    state: Propagation, trace: Trace, module_rules: dict[type, Rule], function_rules: dict[str, Rule]
) -> None:
    """Walks `trace` and adds what it finds to `state`."""
    state.trace, state.channels = trace, {}
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            if _is_shape(state.shape(node)) and len(state.shape(node)) > 1:
                state.channels[node] = state.fixed(node, 1, "it is the input")
        elif node.op == "output":
            for result in node.all_input_nodes:
                for found in _flat(state.channels.get(result)):
                    state.widths.freeze(found.segments, "it is an output of the network")
        elif node.op != "get_attr":
            rule, op = _rule(state, node, module_rules, function_rules)
            usable = rule is not None and bool(node.args)  # rules read the tensor from the first position
            try:
                state.channels[node] = rule(state, node) if usable else state.give_up(node, op)
                state.check(node)
            except Unknown as use:
                state.channels[node] = state.give_up(node, f"{op} {use}".strip())


def _rule(state: Propagation, node: fx.Node, module_rules, function_rules) -> tuple[Rule | None, str]:
    if node.op == "call_module":
        module = state.model.get_submodule(node.target)
        state.seen.add(node.target)
        kind = next((entry for entry in type(module).__mro__ if entry in module_rules), None)
        return module_rules.get(kind), type(module).__name__
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    if isinstance(node.target, type) and issubclass(node.target, tuple):
        return _gathered, name
    # functions and methods are looked up by name: torch.relu, F.relu and Tensor.relu are one op
    return function_rules.get(name.rstrip("_")) or function_rules.get(name), name


def _gathered(state: Propagation, node: fx.Node) -> tuple:
    """A named tuple of tensors (the outputs of a network with auxiliary heads)."""
    return tuple(state.channels.get(value) if isinstance(value, fx.Node) else None for value in node.args)


def _flat(value: Any) -> Iterable[Channels]:
    if isinstance(value, Channels):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _flat(item)


def moved(channels: Channels, axis: int) -> Channels:
    """The same channels at another axis."""
    return replace(channels, axis=axis)
