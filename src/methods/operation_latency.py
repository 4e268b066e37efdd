"""How long each operation of each block takes on the device at hand, as one more column of a cost table.

A network's latency is then taken for the sum over its blocks (FBNet, https://arxiv.org/abs/1812.03443, section 3.3);
`tests/benchmarks/operation_latency.py` tells how far it is from that. Operations are timed inside of whole networks:
alone, one whose maps are small is faster, as its memory stays with it from pass to pass.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from src.methods.latency import LatencyProbe
from src.networks.operations import SKIP
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator, seeded
from src.spaces.cost_table import CostTable
from src.spaces.operation_costs import block_sizes
from src.spaces.operation_space import OperationSpace

_ROUNDS = 4  # through all operations, each among others: other work on the machine falls on all of them
_WARM_UP = 2  # passes of each network before those that count


def with_latency(space: OperationSpace, probe: LatencyProbe, device: torch.device) -> CostTable:
    """The costs of `space` and, last, "latency" in milliseconds for a batch of `probe.batch` images.

    In each of four rounds every block takes its operations by turns, in a random order, so that a round has as many
    networks as there are operations (a vital block, which has one fewer, takes one of its own twice); each is run a
    quarter of `probe.repeats` times. An entry is the median of what was taken by its operation, in all blocks of equal
    shape and size. The fixed part is stem plus head. Operations that are absent, and `skip`, take no time. Each process
    measures for itself: several have to agree on one table.
    """
    sizes = block_sizes(space.macro, space.input_shape)
    with seeded(0, "latency"):  # what fresh weights draw must not move other draws
        network = network_from(space.supernet_config()).eval().to(device)
    images = torch.zeros(probe.batch, *space.input_shape, device=device)
    taken: dict[str | tuple, list[float]] = defaultdict(list)
    for choice in _balanced_choices(space.costs.allowed):
        keys = [(*space.macro.blocks[block], *sizes[block], number) for block, number in enumerate(choice)]
        operations = [block.operations[number] for block, number in zip(network.blocks, choice, strict=True)]
        for turn in range(_WARM_UP + -(-probe.repeats // _ROUNDS)):
            times = part_times([network.stem, *operations, network.head], images)
            if turn >= _WARM_UP:
                for key, own in zip(("stem", *keys, "head"), times, strict=True):
                    taken[key].append(own)
    costs = space.costs
    table = torch.zeros_like(costs.table[:1])
    for block, number in costs.allowed.nonzero().tolist():
        if space.operations[number] != SKIP:
            table[0, block, number] = statistics.median(taken[(*space.macro.blocks[block], *sizes[block], number)])
    fixed = costs.fixed.new_tensor([statistics.median(taken["stem"]) + statistics.median(taken["head"])])
    return replace(
        costs,
        names=(*costs.names, "latency"),
        fixed=torch.cat([costs.fixed, fixed]),
        table=torch.cat([costs.table, table]),
    )


@torch.no_grad()
def part_times(parts: Sequence[nn.Module], images: Tensor) -> list[float]:
    """Milliseconds of each of `parts`, which are run one after the other, the first on `images` (B, C, H, W)."""
    times, x = [], images
    for part in parts:
        began = time.perf_counter()
        x = part(x)
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _balanced_choices(allowed: Tensor) -> list[list[int]]:
    """Random choices (L,) in which each operation that is allowed (L, O) comes as often as others of its block."""
    generator, choices = keyed_generator(0, "latency"), []
    for _ in range(_ROUNDS):
        orders = [row.nonzero()[:, 0] for row in allowed]
        orders = [order[torch.randperm(len(order), generator=generator)].tolist() for order in orders]
        choices += [[order[turn % len(order)] for order in orders] for turn in range(allowed.shape[1])]
    return choices
