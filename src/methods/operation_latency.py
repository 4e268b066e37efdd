"""How long each operation of each block takes on the device at hand, as one more column of a cost table.

A network's latency is then taken for the sum over its blocks (FBNet, https://arxiv.org/abs/1812.03443, section 3.3).
That is an estimate, whose error `tests/benchmarks/operation_latency.py` tells: a block that is measured alone finds its
weights and maps in the cache.
"""

from dataclasses import replace

import torch

from src.methods.latency import LatencyProbe
from src.networks.inverted_residual import InvertedResidual
from src.networks.macro import Head, stem_of
from src.networks.operations import operation_named
from src.runtime.seeds import seeded
from src.spaces.cost_table import CostTable
from src.spaces.operation_costs import block_sizes
from src.spaces.operation_space import OperationSpace


def with_latency(space: OperationSpace, probe: LatencyProbe, device: torch.device) -> CostTable:
    """The costs of `space` and, last, "latency" in milliseconds for a batch of `probe.batch` images.

    Of (channels, stride, size of maps, operation) that are equal in several blocks one is measured. The fixed part is
    stem plus head. Operations that are absent, and `skip`, take no time. Each process measures for itself: several
    have to agree on the table of one.
    """
    macro, sizes = space.macro, block_sizes(space.macro, space.input_shape)
    known: dict[tuple, float] = {}
    with seeded(0, "latency"):  # what fresh weights draw must not move other draws
        fixed = probe.measure(stem_of(macro), space.input_shape, device)
        last = macro.blocks[-1].channels
        fixed += probe.measure(Head(last, macro), (last, *sizes[-1]), device)
        table = torch.zeros_like(space.costs.table[0])
        for block, number in space.costs.allowed.nonzero().tolist():
            shape, size, name = macro.blocks[block], sizes[block], space.operations[number]
            operation = operation_named(name)
            if operation is None:
                continue
            key = (*shape, *size, name)
            if key not in known:
                module = InvertedResidual(*shape, operation, macro)
                known[key] = probe.measure(module, (shape.in_channels, *size), device)
            table[block, number] = known[key]
    costs = space.costs
    return replace(
        costs,
        names=(*costs.names, "latency"),
        fixed=torch.cat([costs.fixed, costs.fixed.new_tensor([fixed])]),
        table=torch.cat([costs.table, table[None]]),
    )
