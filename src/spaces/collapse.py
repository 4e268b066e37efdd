"""Whether a search of cells has collapsed: one kind of operation everywhere, or edges on which nothing is left.

What collapse looks like: longer searches fill cells with skip connections (Zela et al. 2020, RobustDARTS,
https://arxiv.org/abs/1909.09656). A histogram of O equally frequent operations has the entropy log O; one kind alone 0.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from src.networks.cell_operations import PARAMETER_FREE
from src.networks.genotypes import CELL_TYPES

SKIP = "skip_connect"
POOLS = tuple(name for name in PARAMETER_FREE if name != SKIP)


Histogram = dict[str, dict[str, int]]  # of each cell type the number of edges with each operation


def operation_histogram(genotype: Mapping[str, Sequence], operations: Iterable[str] = ()) -> Histogram:
    """How often each cell of a genotype has each operation: of `operations` also where it is 0, then of others."""
    found = {cell: Counter(name for node in genotype[cell] for name, _ in node) for cell in CELL_TYPES}
    names = dict.fromkeys([*operations, *sorted(set().union(*found.values()))])
    return {cell: {name: counts[name] for name in names} for cell, counts in found.items()}


def entropy(counts: Iterable[float]) -> float:
    """The entropy in nats of a histogram; 0 of an empty one."""
    values = torch.tensor(list(counts), dtype=torch.float64)
    return float(torch.special.entr(values / values.sum().clamp_min(1e-300)).sum())


def dead_edges(live: Tensor) -> Tensor:
    """(T,) int64: the number of edges of which no operation is alive; `live` is (T, E, O) bool."""
    return (~live.any(dim=2)).sum(dim=1)


def collapse_measures(genotype: Mapping[str, Sequence]) -> dict[str, float]:
    """Of both cells together, and with the ending `_normal` or `_reduce` of each one:

    `entropy`: of the histogram of operations, in nats; `parameter_free`: the share of edges that are skips or pools (by
    name: a skip of stride 2 has weights); `skips`, `pools`: the number of such edges.
    """
    cells = operation_histogram(genotype)
    both = Counter(cells["normal"])
    both.update(cells["reduce"])
    measures = {}
    for ending, counts in {"": both, **{f"_{cell}": counts for cell, counts in cells.items()}}.items():
        skips, pools = counts.get(SKIP, 0), sum(counts.get(name, 0) for name in POOLS)
        measures[f"entropy{ending}"] = entropy(counts.values())
        measures[f"parameter_free{ending}"] = (skips + pools) / max(sum(counts.values()), 1)
        measures[f"skips{ending}"] = skips
        measures[f"pools{ending}"] = pools
    return measures
