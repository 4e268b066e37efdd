"""What the candidates of a width are worth one by one, in super-nets of free sharing on the ground truth's network.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.candidate_sets          about 5 minutes on one core, 3 seeds

In quarters with r=1 a width below the full one stands for two sets in each group: the prefix, and that with its last
quarter exchanged for the next. All 2401 paths of the 256 rows are judged (validation error, calibration loss); printed
are the errors by how many groups have exchanged, and how well the rows are ranked by one path, by the best of all, by
their mean. `--epochs 400` shows whether longer training helps.
"""

import argparse
from itertools import product
from unittest import mock

import torch
from torch import Tensor

from callbacks.flops_bin_sampling import FlopsBinSampling
from tests.benchmarks.ground_truth import EPOCHS, cell
from tests.ground_truth import supernet_training
from tests.ground_truth.supernet_training import TableScoring, trained_supernet
from tests.ground_truth.supernets import VARIANTS, mean_banded
from tests.ground_truth.table import CENTRES, GroundTruth, ground_truth


class AllPaths(TableScoring):
    """Judges every path of every row: `exchanged`, `errors`, `losses` (rows, 16), NaN where there are fewer paths."""

    kept: "AllPaths"

    def _score(self, module, sampling: FlopsBinSampling, rows: Tensor) -> None:
        AllPaths.kept = self
        super()._score(module, sampling, rows)
        evaluation, sharing = module.evaluation("first"), sampling.sharing
        shape = len(rows), 2 ** rows.shape[1]
        self.exchanged, self.errors, self.losses = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(3))
        for place, row in enumerate(rows.tolist()):
            sets = [range(counts[bins - 1]) for counts, bins in zip(sharing.counts, row, strict=True)]
            for number, numbers in enumerate(product(*sets)):
                value = evaluation.evaluate([sharing.choice(row, numbers)])
                self.exchanged[place, number] = sum(numbers)
                self.errors[place, number], self.losses[place, number] = value.error, value.train_loss


def spread_in_bands(table: GroundTruth, scores: Tensor) -> float:
    """Standard deviation of scores between the rows of a band of MACs, the mean over bands."""
    bands = [table.band(centre) for centre in CENTRES]
    return float(torch.stack([scores[band].std() for band in bands]).mean())


def judged(table: GroundTruth, paths: AllPaths) -> dict[str, float]:
    errors, losses = paths.errors, paths.losses
    lowest = losses.nan_to_num(torch.inf).argmin(1, keepdim=True)
    best, prefix, mean = errors.gather(1, lowest)[:, 0], errors[:, 0], errors.nanmean(1)
    inside = (~errors.isnan()).sum(1) > 1
    sd = (errors - mean[:, None])[inside].square().nanmean().sqrt()
    taus = {"prefix": prefix, "lowest loss of all": best, "mean of all": mean}
    found = {f"banded tau, {name}": mean_banded(table, scores) for name, scores in taus.items()}
    narrower = (table.rows < 4).all(1)  # the rows that have all of 16 paths
    for number in range(5):
        chosen = (paths.exchanged == number) & narrower[:, None]
        found[f"error, {number} groups exchanged (rows of 16 paths)"] = float(errors[chosen].mean())
    found |= {"error, lowest loss of all": float(best.mean()), "sd of paths of a row": float(sd)}
    found |= {"share of rows whose prefix has the lowest loss": float((lowest[inside] == 0).double().mean())}
    found |= {"sd of rows in a band, mean of paths": spread_in_bands(table, mean)}
    found |= {"sd of rows in a band, trained": spread_in_bands(table, table.truth)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--only", nargs="+", choices=("r1", "r1-k1", "r1-k4"), default=["r1"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = ground_truth()
    with mock.patch.object(supernet_training, "TableScoring", AllPaths):
        for name in options.only:
            runs = []
            for seed in range(options.seeds):
                trained_supernet(name, seed, options.epochs, table)
                runs.append(judged(table, AllPaths.kept))
            print(f"{VARIANTS[name].about}, {options.epochs} epochs, {options.seeds} seeds")
            for key in runs[0]:
                print(f"    {key:<50} {cell(torch.tensor([run[key] for run in runs]))}", flush=True)


if __name__ == "__main__":
    main()
