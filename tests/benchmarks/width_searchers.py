"""What searches over rows of bins find in how many evaluations, with exact values: no super-net has a part in this.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.width_searchers          half a minute on one core

First on the ground truth (256 trained networks): regret in points of test error against the best network under the
budget, mean over the seeds and, in brackets, in how many of them it is at most 0.1. Then on a space of the size of
MobileNetV2's, 25 groups of 16 bins with its MACs, where the value of a row is made up: a sum of a power law for each
group, the optimum of which is not known.
"""

import torch

from src.evolution.evolution import Evolution
from src.evolution.grid import Band, BinGrid, Row
from src.evolution.random_search import RandomSearch
from src.evolution.searcher import Searcher
from src.evolution.uniform import UniformScaling
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from tests.ground_truth.table import GroundTruth, ground_truth

SEEDS = 20
EVALUATIONS = (20, 40, 60, 100, 150)
SHARES = (0.25, 0.5, 0.75)
CLOSE = 0.1  # points of error
LARGE_EVALUATIONS = (100, 200, 500, 1000, 2000)


def values_in_order(searcher: Searcher, value) -> list[float]:
    """The value of each row that the searcher proposes, in that order; value: row -> float."""
    while not searcher.done:
        searcher.tell({row: (value(row),) for row in searcher.ask()})
    return [searcher.known[row][0] for row in searcher.proposed]


def best_after(values: list[float], evaluations: int) -> float:
    return min(values[:evaluations])


def on_table(table: GroundTruth) -> None:
    truth = {tuple(row): float(error) for row, error in zip(table.rows.tolist(), table.truth, strict=True)}
    grid = table.grid()
    print(f"{'budget':>7} {'rows':>5} {'optimum':>8}  {'search':<14}" + "".join(f"{n:>14}" for n in EVALUATIONS))
    for share in SHARES:
        band = Band(0, table.budget(share))
        rows, optimum = int((table.macs <= band.most).sum()), table.optimum(band.most)
        for kind in (Evolution, RandomSearch, UniformScaling):
            cells = []
            seeds = range(1 if kind is UniformScaling else SEEDS)
            runs = [values_in_order(made(kind, grid, band, seed), truth.__getitem__) for seed in seeds]
            for evaluations in EVALUATIONS:
                regrets = [best_after(run, evaluations) - optimum for run in runs]
                close = sum(regret <= CLOSE for regret in regrets)
                cells.append(f"{sum(regrets) / len(regrets):8.3f} ({close:2})  ")
            print(f"{share:7.0%} {rows:5} {optimum:8.2f}  {kind.__name__:<14}" + "".join(cells))


def made(kind: type[Searcher], grid: BinGrid, band: Band, seed: int, evaluations: int = EVALUATIONS[-1]) -> Searcher:
    return kind(grid, band) if kind is UniformScaling else kind(grid, seed, band, evaluations=evaluations)


def large_space() -> tuple[BinGrid, torch.Tensor]:
    """A grid with the groups and MACs of MobileNetV2, 16 bins each, and made-up weights (G,) of the groups."""
    from torchvision.models import mobilenet_v2

    graph = channel_graph(mobilenet_v2(), (3, 224, 224))
    costs = cost_polynomial(graph)
    full = costs.vector(graph.widths())[0]
    low = torch.ones(len(full), dtype=torch.int64)
    weights = torch.rand(len(full), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return BinGrid(low, 16 * low, lambda rows: costs.macs(rows * full / 16)), weights


def on_large_space() -> None:
    grid, weights = large_space()
    print(f"\n{'budget':>7}  {'search':<14}" + "".join(f"{n:>10}" for n in LARGE_EVALUATIONS))
    for share in SHARES:
        most = int(share * grid.reachable()[1])
        band = Band(int(0.95 * most), most)
        for kind in (Evolution, RandomSearch, UniformScaling):

            def value(row: Row) -> float:
                return float((weights / (torch.tensor(row) / 16)).mean())

            seeds = range(1 if kind is UniformScaling else 3)
            runs = [values_in_order(made(kind, grid, band, seed, LARGE_EVALUATIONS[-1]), value) for seed in seeds]
            means = [sum(best_after(run, count) for run in runs) / len(runs) for count in LARGE_EVALUATIONS]
            print(f"{share:7.0%}  {kind.__name__:<14}" + "".join(f"{mean:10.4f}" for mean in means))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("regret on the ground truth after so many evaluations, 20 seeds")
    on_table(ground_truth())
    on_large_space()
