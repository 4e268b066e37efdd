"""Which op gives values to which: the part of a traced graph that carries tensors made from the images.

Sizes, constants and what is computed from parameters alone are left out, so that a path in this graph is a way on
which the output can depend on the input.
"""

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from src.graph.equal_parts import cat_equal
from src.graph.tracing import Trace

ADDITIONS = {
    torch.add,
    torch.sub,
    operator.add,
    operator.sub,
    operator.iadd,
    operator.isub,
    "add",
    "add_",
    "sub",
    "sub_",
}
PRODUCTS = {torch.mul, operator.mul, operator.imul, "mul", "mul_"}
CONCATENATIONS = {torch.cat, torch.concat, torch.concatenate, torch.stack, torch.hstack, cat_equal}
# their first operand gives a shape or a type only
_CONSTANTS = {torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, torch.randn_like}
_NEW = {"new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"}
_LIKE = {"expand_as", "view_as", "reshape_as", "type_as"}  # their second operand does


@dataclass(frozen=True)
class DataFlow:
    """Ops as numbers in the order of the graph (so every edge goes up); `nodes[0]` is the input, the last the output.

    Args:
        parameters: of each parametric op the paths of the parameters, or of the module, that it computes with. What
            passes the images on beside a parameter is none: additions, concatenations, activations (a PReLU too).
        successors: of each op the ops that take its values.
    """

    nodes: tuple[fx.Node, ...]
    successors: tuple[tuple[int, ...], ...]
    parameters: dict[int, tuple[str, ...]]
    trace: Trace

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        before: list[list[int]] = [[] for _ in self.nodes]
        for op, following in enumerate(self.successors):
            for after in following:
                before[after].append(op)
        return tuple(map(tuple, before))

    @cached_property
    def stacks(self) -> tuple[frozenset[str], ...]:
        """Of each op the paths of the modules in whose forward it stands."""
        found = ((node.meta.get("nn_module_stack") or {}).values() for node in self.nodes)
        return tuple(frozenset(path for path, _ in stack if path) for stack in found)

    def reaches(self, start: int, end: int, without: Collection[int] = (), broken: Collection[tuple] = ()) -> bool:
        """Whether a path leads from op `start` to op `end` when the ops `without` and the edges `broken` are gone."""
        seen = bytearray(len(self.nodes))
        for op in without:
            seen[op] = 1
        front = [start]
        while front:
            op = front.pop()
            if op == end:
                return True
            for after in self.successors[op]:
                if not seen[after] and (op, after) not in broken:
                    seen[after] = 1
                    front.append(after)
        return False

    def owned(self, path: str) -> list[int]:
        """The parametric ops whose parameters belong to the module `path`."""
        return [op for op, names in self.parameters.items() if any(within(name, path) for name in names)]

    def inside(self, path: str) -> list[int]:
        """The ops that stand in the forward of the module `path`."""
        return [op for op, stack in enumerate(self.stacks) if path in stack]

    def elements(self, op: int) -> int:
        """The number of values in what op gives, those of a tuple together."""
        return sum(torch.Size(shape).numel() for shape in _tensors(self.trace.shapes.get(self.nodes[op])))

    def resamples(self, before: int, after: int) -> bool:
        """Whether the edge loses or invents values: a stride, a slice, padding, pooling; a split or a join does not."""
        size, node = self.elements(after), self.nodes[after]
        if node.op == "output" or (node.target is operator.getitem and _is_tuple(self.trace, self.nodes[before])):
            return False
        if _pools(node):
            return True
        if node.target in CONCATENATIONS:
            return size != sum(self.elements(op) for op in self.predecessors[after])
        return size != self.elements(before)


def within(name: str, path: str) -> bool:
    """Whether `name` is `path` or lies below it."""
    return name == path or name.startswith(path + ".") or not path


def data_flow(trace: Trace, model: nn.Module) -> DataFlow:
    """The data flow of a traced model, from its images to its output."""
    nodes: list[fx.Node] = []
    index: dict[fx.Node, int] = {}
    weights: dict[fx.Node, tuple[str, ...]] = {}  # of what comes from parameters alone, their paths
    successors: list[list[int]] = []
    parameters: dict[int, tuple[str, ...]] = {}
    of_module = {path: any(True for _ in module.parameters()) for path, module in model.named_modules()}
    named = dict(model.named_parameters(remove_duplicate=False))
    for node in trace.graph.nodes:
        sources = list(_value_operands(node))
        flowing = list(dict.fromkeys(source for source in sources if source in index))
        of_weights = tuple(dict.fromkeys(name for source in sources for name in weights.get(source, ())))
        if node.op == "placeholder":
            flows = not nodes
        else:
            flows = bool(flowing) and (node.op == "output" or _carries(trace.shapes.get(node)))
        if not flows:
            weights[node] = of_weights + ((node.target,) if node.op == "get_attr" and node.target in named else ())
            continue
        index[node] = len(nodes)
        nodes.append(node)
        successors.append([])
        for source in flowing:
            successors[index[source]].append(index[node])
        if node.op == "call_module" and of_module[node.target]:
            if not isinstance(model.get_submodule(node.target), nn.PReLU):
                parameters[index[node]] = (node.target,)
        elif of_weights and node.op != "output" and node.target not in ADDITIONS | CONCATENATIONS:
            parameters[index[node]] = of_weights
    return DataFlow(tuple(nodes), tuple(map(tuple, successors)), parameters, trace)


def _value_operands(node: fx.Node) -> Iterator[fx.Node]:
    """The operands whose values decide what `node` gives."""
    if node.target in _CONSTANTS or (node.op == "call_method" and node.target in _NEW):
        return iter(())
    if node.op == "call_method" and node.target in _LIKE:
        return (argument for argument in node.args[:1] if isinstance(argument, fx.Node))
    return iter(node.all_input_nodes)


def _tensors(shape: Any) -> Iterator[tuple[int, ...]]:
    if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
        yield shape
    elif isinstance(shape, tuple):
        for item in shape:
            yield from _tensors(item)


def _carries(shape: Any) -> bool:
    return any(True for _ in _tensors(shape))


def _is_tuple(trace: Trace, node: fx.Node) -> bool:
    shape = trace.shapes.get(node)
    return isinstance(shape, tuple) and any(not isinstance(size, int) for size in shape)


def _pools(node: fx.Node) -> bool:
    """Pooling that keeps the resolution is no identity either."""
    stack = node.meta.get("nn_module_stack") or {}
    if node.op == "call_module" and stack:
        return "pool" in stack[next(reversed(stack))][1].__name__.lower()
    return "pool" in getattr(node.target, "__name__", str(node.target))
