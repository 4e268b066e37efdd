"""Lesions: channels of one block's transform that are reset to zero, before the block's shortcut is added.

HourNAS probes by them how much a trained network depends on each block. Masked is what comes out of the parametric ops
of the block: of y = F(x) + x the branch F(x), never the sum, because a mask of the sum cuts off any block alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map

from src.errors import UserError
from src.graph.block_transforms import transforms
from src.graph.vital_blocks import VitalBlocks

Key = tuple[str, float]  # block, probability


def lesion_masks(
    found: VitalBlocks, rates: Sequence[float], generator_of: Callable[[str, float], torch.Generator]
) -> dict[Key, tuple[Tensor, ...]]:
    """Of each block and rate p a mask (C,) for each of its transforms: 0 with probability p, else 1.

    generator_of: (block, p) -> the generator that the masks are drawn from. Blocks without a transform have none.
    """
    return {
        (block, rate): tuple(lesion_mask(place.channels, rate, generator) for place in places)
        for block, places in transforms(found).items()
        for rate in rates
        if places
        for generator in [generator_of(block, rate)]
    }


def lesion_mask(channels: int, rate: float, generator: torch.Generator) -> Tensor:
    """A mask (C,): 0 with probability `rate`, else 1."""
    return (torch.rand(channels, generator=generator) >= rate).float()


@torch.no_grad()
def lesion_outputs(
    model: nn.Module, found: VitalBlocks, images: Tensor, masks: Mapping[Key, Sequence[Tensor]]
) -> Iterator[tuple[Key | None, Any]]:
    """What `model`, evaluating, gives for images (B, C, H, W) with each of the lesions; first, under None, without.

    What lies before a lesion is computed once for all of them, so that L blocks cost about half of L + 1 passes.
    """
    flow, places = found.flow, transforms(found)
    graph = flow.trace.graph
    missing = [node.target for node in graph.nodes if node.op == "get_attr" and not _has(model, node.target)]
    if missing:
        raise UserError(
            f"lesions of {type(model).__name__} cannot be made: its forward makes the constant {missing[0]!r}"
        )
    begins: dict[fx.Node, list[str]] = {}
    for block in dict.fromkeys(block for block, _ in masks):
        begins.setdefault(flow.nodes[places[block][0].op], []).append(block)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        run = _Run(model, graph, images)
        lesioned = []
        for node in run.order:
            value = run.step(node)
            for block in begins.get(node, ()):
                for key in [key for key in masks if key[0] == block]:
                    at = {flow.nodes[p.op]: (p.dim, mask) for p, mask in zip(places[block], masks[key], strict=True)}
                    lesioned.append((key, run.branch(node, value, at)))
        yield None, value
        yield from lesioned
    finally:
        for module, training in modes:
            module.training = training


def _has(model: nn.Module, path: str) -> bool:
    owner, _, name = path.rpartition(".")
    try:
        return hasattr(model.get_submodule(owner), name)
    except AttributeError:
        return False


class _Run:
    """A pass through a graph, node by node, from which others branch off."""

    def __init__(self, model: nn.Module, graph: fx.Graph, images: Tensor) -> None:
        self.order = list(graph.nodes)
        self._interpreter = fx.Interpreter(model, garbage_collect_values=False, graph=graph)
        last = {source: node for node in self.order for source in node.all_input_nodes}
        self._dead_after: dict[fx.Node, list[fx.Node]] = {}
        for source, node in last.items():
            self._dead_after.setdefault(node, []).append(source)
        self._images = images
        self._values: dict[fx.Node, Any] = {}

    def step(self, node: fx.Node) -> Any:
        self._interpreter.env = self._values
        self._interpreter.args_iter = iter([self._images])
        value = self._values[node] = self._interpreter.run_node(node)
        for source in self._dead_after.get(node, ()):
            del self._values[source]
        return value

    def branch(self, node: fx.Node, value: Tensor, masks: Mapping[fx.Node, tuple[int, Tensor]]) -> Any:
        """The output where the values of some nodes are masked; `node`, the first of them, has just given `value`."""
        trunk = self._values
        # ops that work in place must not change what the trunk goes on with
        self._values = {source: tree_map(_cloned, v) for source, v in trunk.items()}
        try:
            self._values[node] = value = _masked(value, *masks[node])
            for following in self.order[self.order.index(node) + 1 :]:
                value = self.step(following)
                if following in masks:
                    self._values[following] = _masked(value, *masks[following])
            return value
        finally:
            self._values = trunk


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _masked(value: Tensor, dim: int, mask: Tensor) -> Tensor:
    shape = [1] * value.dim()
    shape[dim] = len(mask)
    return torch.where(
        mask.to(value.device).view(shape) > 0, value, torch.zeros((), dtype=value.dtype, device=value.device)
    )
