"""The channel graph of a network: its width groups, the layers that read and write them, and what follows them."""

import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import nn

from src.errors import UserError, did_you_mean
from src.graph import function_rules, module_rules, shape_rules
from src.graph.propagation import Layer, Propagation, Slot, propagate
from src.graph.segments import Segments
from src.graph.tracing import Trace, trace


@dataclass(frozen=True)
class Group:
    """Channel dimensions that must have one common width."""

    name: str  # of the first layer that writes it
    width: int  # today
    multiple: int  # admissible widths are multiples of this
    frozen: str | None  # why its width may not change, None if it may


@dataclass(frozen=True)
class ChannelGraph:
    """What `channel_graph` finds. Segments in `layers` and `slots` are tuples of (index into `groups`, times)."""

    groups: list[Group]
    layers: list[Layer]
    slots: list[Slot]
    norms: dict[str, Segments]  # of group and layer norms
    unknown: dict[str, str]  # op without a rule -> the first module that it stands in
    trace: Trace = field(repr=False)
    input_shape: tuple[int, int, int]
    parameter_shapes: dict[str, tuple[int, ...]] = field(repr=False)

    @cached_property
    def free(self) -> list[Group]:
        """The groups whose width may change, in the order in which the network first writes them."""
        return [group for group in self.groups if group.frozen is None]

    @cached_property
    def index(self) -> dict[str, int]:
        return {group.name: position for position, group in enumerate(self.groups)}

    def widths(self) -> dict[str, int]:
        """Today's width of every group that is free."""
        return {group.name: group.width for group in self.free}

    def at(self, widths: dict[str, int]) -> "ChannelGraph":
        """The graph of the same network with its free groups at `widths`: a trace of that might know less.

        Of a grouped convolution with one channel left in each of its groups, say, that it is no depthwise one.
        """
        widths = self.checked(widths)
        groups = [replace(group, width=widths.get(group.name, group.width)) for group in self.groups]
        return replace(self, groups=groups)

    def checked(self, widths: dict[str, int]) -> dict[str, int]:
        """All free widths: those given, today's for the rest. Raises `UserError` for an unknown or inadmissible one."""
        allowed = {group.name: group for group in self.free}
        for name, width in widths.items():
            if name not in allowed:
                frozen = next((group.frozen for group in self.groups if group.name == name), None)
                why = f"its width cannot change: {frozen}" if frozen else did_you_mean(name, allowed)
                raise UserError(f"there is no width group {name!r} to set; {why}")
            multiple = allowed[name].multiple
            if not isinstance(width, int) or isinstance(width, bool) or width < 1 or width % multiple:
                given = width if isinstance(width, (int, float)) else multiple
                near = max(multiple, round(given / multiple) * multiple)
                raise UserError(f"width {width!r} of {name!r} must be a positive multiple of {multiple}, {near} say")
        return {**self.widths(), **widths}


def channel_graph(model: nn.Module, input_shape: tuple[int, int, int]) -> ChannelGraph:
    """Traces `model` for images of `input_shape` = (C, H, W) and finds its channel groups.

    Evaluation mode is traced; training mode too where it reaches layers that evaluation does not (auxiliary heads),
    for their widths but not for their costs. Unknown ops freeze the groups that they touch, with one warning.
    Raises `UserError` where the model cannot be traced.
    """
    input_shape = tuple(int(size) for size in input_shape)
    evaluated = trace(model, input_shape)
    state = Propagation(model)
    functions = function_rules.RULES | shape_rules.RULES
    propagate(state, evaluated, module_rules.RULES, functions)
    layers = list(state.layers)
    if _unseen(model, state):
        with suppress(UserError):  # modules that are never called; training itself will say what it does not like
            propagate(state, trace(model, input_shape, training=True), module_rules.RULES, functions)
    if state.unknown:
        known = ", ".join(f"{op} (in {module})" for op, module in state.unknown.items())
        warnings.warn(
            f"the widths around these ops of {type(model).__name__} stay as they are, for the channel graph does not "
            f"know the ops: {known}",
            stacklevel=2,
        )
    return _settled(model, state, layers, evaluated, input_shape)


def _unseen(model: nn.Module, state: Propagation) -> bool:
    """Whether a module with parameters of its own has not been come to."""
    touched = state.seen | {slot.tensor.rpartition(".")[0] for slot in state.slots.values()}
    return any(
        name not in touched and any(True for _ in module.parameters(recurse=False))
        for name, module in model.named_modules()
    )


def _settled(model, state: Propagation, layers: list[Layer], evaluated: Trace, input_shape) -> ChannelGraph:
    """Renumbers the variables that are left as groups, and resolves all segments to them."""
    widths = state.widths
    used: dict[int, int] = {}

    def settle(segments: Segments) -> Segments:
        resolved = widths.resolve(segments)
        return tuple((used.setdefault(variable, len(used)), times) for variable, times in resolved)

    settled = [
        Layer(x.name, x.kind, settle(x.inputs), settle(x.outputs), x.groups, x.kernel, x.positions) for x in layers
    ]
    slots = [Slot(slot.tensor, slot.dim, settle(slot.segments), slot.divisor) for slot in state.slots.values()]
    norms = {name: settle(segments) for name, segments in state.norms.items()}
    groups, names = [], set()
    for variable in used:
        entry = widths.variables[variable]
        name = entry.name
        while name in names:
            name += "'"
        names.add(name)
        groups.append(Group(name, entry.size, entry.multiple, entry.frozen))
    return ChannelGraph(groups, settled, slots, norms, dict(state.unknown), evaluated, input_shape, _counted(model))


def _counted(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of what counts as a parameter: not what says how sure a layer is of its weights (`like_weight`)."""
    aside = {f"{name}.{key}" for name, module in model.named_modules() for key in getattr(module, "like_weight", ())}
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters() if name not in aside}
