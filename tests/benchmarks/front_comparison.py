"""The fronts of several searches on the test part, beside each other:

    python -m tests.benchmarks.front_comparison outputs/<multirun folder>/seed_0/*

Of each folder with a `front_test.csv` (method=nat, encas, encas_joint): its members, the lowest test error, the
hypervolume up to 90 % error and 1.01 times the dearest MACs of all that are given; and of each other one the share of
members that a member of it beats or equals in both test error and MACs, with the most points of error that it lacks for
one of the rest at no more MACs.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from src.reporting.hypervolume import hypervolume

ERROR, ROOM = 90.0, 1.01


def points_of(folder: Path) -> np.ndarray:
    """Test error (percent) and average MACs (n, 2)."""
    with open(folder / "front_test.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row["test_error"]), float(row["test_macs"])] for row in rows])


def beaten(points: np.ndarray, by: np.ndarray) -> float:
    """The share of points (n, 2) that one of `by` (m, 2) weakly dominates."""
    return float((by[None] <= points[:, None]).all(2).any(1).mean())


def lack(points: np.ndarray, by: np.ndarray) -> float:
    """The most that a point (n, 2) has less error than all of `by` (m, 2) at no more MACs; infinite without any."""
    cheap_enough = by[None, :, 1] <= points[:, None, 1]
    best = np.where(cheap_enough, by[None, :, 0], np.inf).min(1)
    return float(np.maximum(best - points[:, 0], 0).max())


def compared(name: str, own: np.ndarray, by: np.ndarray) -> str:
    told = f"{100 * beaten(own, by):.0f} % of {name}"
    short = lack(own, by)
    if short == 0:
        return told
    return f"{told} (for the rest it lacks {short:.2f} points at most)" if np.isfinite(short) else told


def main(folders: list[Path]) -> None:
    fronts = {folder.name: points_of(folder) for folder in folders if (folder / "front_test.csv").is_file()}
    reference = (ERROR, ROOM * max(points[:, 1].max() for points in fronts.values()))
    print(f"hypervolumes up to {reference[0]:g} % and {reference[1] / 1e6:.2f} M MACs")
    for name, points in fronts.items():
        others = ", ".join(compared(key, own, points) for key, own in fronts.items() if key != name)
        print(
            f"{name}: {len(points)} members, lowest error {points[:, 0].min():.2f} %, hypervolume "
            f"{hypervolume(points, reference):.4f}; beats or equals {others}"
        )


if __name__ == "__main__":
    main([Path(text) for text in sys.argv[1:]])
