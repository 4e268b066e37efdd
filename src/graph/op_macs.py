"""What each op of a traced network computes, and with it each block: MACs and parameters."""

import copy
from collections.abc import Iterable

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from src.graph.data_flow import within
from src.graph.tracing import BATCH, Trace, on_meta
from src.graph.vital_blocks import VitalBlocks


class _Counting(fx.Interpreter):
    def __init__(self, model: nn.Module, graph: fx.Graph, counter: FlopCounterMode) -> None:
        super().__init__(model, graph=graph)
        self.counter, self.macs = counter, {}

    def run_node(self, node: fx.Node):
        before = self.counter.get_total_flops()
        result = super().run_node(node)
        self.macs[node] = (self.counter.get_total_flops() - before) // (2 * BATCH)
        return result


@torch.no_grad()
def op_macs(model: nn.Module, traced: Trace) -> dict[fx.Node, int]:
    """The multiply-accumulates of each op for one image: convolutions, linear layers, products of matrices."""
    shape = next(traced.shapes[node] for node in traced.graph.nodes if node.op == "placeholder")
    for build, device in ((on_meta, "meta"), (lambda own: copy.deepcopy(own).cpu(), "cpu")):
        with FlopCounterMode(display=False) as counter:
            run = _Counting(build(model).eval(), traced.graph, counter)
            try:
                run.run(torch.zeros(shape, device=device))
                return run.macs
            except Exception:  # what holds tensors that are no buffers does not run on the meta device
                if device == "cpu":
                    raise
    raise AssertionError


def block_costs(model: nn.Module, found: VitalBlocks) -> dict[str, tuple[int, int]]:
    """Of each block its MACs for one image and its parameters; under the name "" those of the whole model."""
    macs = op_macs(model, found.flow.trace)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    costs = {"": (sum(macs.values()), sum(counts.values()))}
    for block, region in found.regions.items():
        paths = [name for op in region.parametric for name in found.flow.parameters[op]]
        own = sum(_count(counts, [block, *paths]))
        costs[block] = (sum(macs.get(found.flow.nodes[op], 0) for op in region.ops), own)
    return costs


def _count(counts: dict[str, int], paths: Iterable[str]) -> list[int]:
    paths = set(paths)
    return [count for name, count in counts.items() if any(within(name, path) for path in paths)]
