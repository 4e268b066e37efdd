"""A pool of the size of the paper's, made up: 518 members x 20,683 samples x 1,000 classes of float16: 21 GB on disk.

python -m tests.benchmarks.synthetic_pool FOLDER [members=518] [samples=20683] [classes=1000] [seed=0]

What the members share: the true class of a sample, its difficulty, a set of classes that it may be mistaken for, and
how tempting each of them is. What is a member's own: its skill, which grows with its cost, and noise. A member is
right where its skill is above a critical one, so that skills are set to give each accuracy exactly. All other classes
share a small mass of cheap noise, as label smoothing leaves it. Distributions are invented; the ranges (top-1 62 to
88 %, 60 to 362,000 M MACs) are those of the 518 timm networks of the ENCAS paper.

Everything is keyed by (seed, member): a member is the same whichever others are written.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LOWEST_MACS, HIGHEST_MACS = 60e6, 362e9
LOWEST_TOP1, HIGHEST_TOP1 = 0.62, 0.88
CONFUSABLE = 12  # classes that share nearly all of a sample's mass, the true one among them
_SHARED = 0.6  # of the variance of a class's score, the part that is the same for all members
_SHARPNESS = 2.0  # of the softmax: large values make all members sure
_LOWEST_TAIL, _HIGHEST_TAIL = 1e-4, 1e-2  # the mass of all other classes together
_TAIL_LEVELS, _TAIL_LENGTH = 24, 1 << 14


@dataclass(frozen=True)
class Samples:
    """Of all members: labels (N,), difficulties (N,), confusable classes (N, J), the first is true, scores (N, J)."""

    labels: np.ndarray
    difficulties: np.ndarray
    confusable: np.ndarray
    scores: np.ndarray
    classes: int


def make_samples(samples: int, classes: int, seed: int) -> Samples:
    """The shared part of a pool of N `samples` and C `classes` (at least 2)."""
    generator = np.random.default_rng([seed, 0])
    count = min(CONFUSABLE, classes)
    labels = generator.integers(0, classes, samples)
    # Distinct classes by distinct distances from the true one, near ones more often than far ones.
    steps = generator.geometric(min(0.5, 3 / classes), (samples, count - 1)).cumsum(axis=1)
    crowded = steps[:, -1] >= classes
    steps[crowded] = np.arange(1, count)
    confusable = (labels[:, None] + np.concatenate([np.zeros((samples, 1), dtype=np.int64), steps], axis=1)) % classes
    return Samples(
        labels.astype(np.int64),
        generator.standard_normal(samples) * 1.5,
        confusable,
        generator.standard_normal((samples, count)),
        classes,
    )


def make_costs(members: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """MACs and top-1 accuracies (0 to 1) aimed at, both (M,), from the cheapest member to the costliest."""
    generator = np.random.default_rng([seed, 0, 1])
    position = np.linspace(0, 1, members)
    macs = LOWEST_MACS * (HIGHEST_MACS / LOWEST_MACS) ** position
    span = HIGHEST_TOP1 - LOWEST_TOP1
    top1 = LOWEST_TOP1 + span * position**0.6 + 0.02 * generator.standard_normal(members)
    top1[[0, -1]] = LOWEST_TOP1, HIGHEST_TOP1
    return np.round(macs), np.clip(top1, LOWEST_TOP1, HIGHEST_TOP1)


def make_member(shared: Samples, member: int, top1: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Softmax (N, C) of member number `member` of accuracy `top1`, and gaps of its two largest logits (N,); float16."""
    generator = np.random.default_rng([seed, member + 1])
    count = len(shared.labels)
    own = generator.standard_normal(shared.scores.shape)
    scores = np.sqrt(_SHARED) * shared.scores + np.sqrt(1 - _SHARED) * own
    critical = shared.difficulties + scores[:, 1:].max(axis=1) - scores[:, 0]
    scores[:, 0] += np.quantile(critical, top1) - shared.difficulties
    scores *= _SHARPNESS
    near = np.exp(scores - scores.max(axis=1, keepdims=True))
    level = generator.integers(0, _TAIL_LEVELS, count)
    masses = np.geomspace(_LOWEST_TAIL, _HIGHEST_TAIL, _TAIL_LEVELS)
    near *= ((1 - masses[level]) / near.sum(axis=1))[:, None]
    softmax = _tails(level, masses, shared.classes, generator)
    np.put_along_axis(softmax, shared.confusable, near.astype(np.float16), axis=1)
    highest = np.sort(scores, axis=1)[:, -2:]
    return softmax, (highest[:, 1] - highest[:, 0]).astype(np.float16)


def _tails(level: np.ndarray, masses: np.ndarray, classes: int, generator: np.random.Generator) -> np.ndarray:
    """Rows (N, C) of small float16 numbers: a window of a table of noise each, so that a row costs a copy only."""
    noise = generator.lognormal(-0.5, 1.0, _TAIL_LENGTH + classes)  # of mean 1
    table = (masses[:, None] / classes * noise).astype(np.float16)
    windows = np.lib.stride_tricks.sliding_window_view(table, classes, axis=1)
    return windows[level, generator.integers(0, _TAIL_LENGTH, len(level))]


def write(
    folder: str | Path, members: int, samples: int, classes: int, seed: int = 0, first: int | None = None
) -> list[float]:
    """Writes a pool: `<name>.npy` softmax (N, C) float16 a member, labels.npy (N,) int64, models.json, gaps/<name>.npy.

    Returns the MACs of the members, in the order of models.json (m0000, m0001, ...). `first`: only so many members of
    the pool are written and named.
    """
    folder = Path(folder)
    (folder / "gaps").mkdir(parents=True, exist_ok=True)
    shared = make_samples(samples, classes, seed)
    macs, top1 = make_costs(members, seed)
    np.save(folder / "labels.npy", shared.labels)
    described = []
    for member in range(members if first is None else first):
        name = f"m{member:04d}"
        softmax, gaps = make_member(shared, member, top1[member], seed)
        np.save(folder / f"{name}.npy", softmax)
        np.save(folder / "gaps" / f"{name}.npy", gaps)
        described.append({"name": name, "macs": macs[member], "params": round(macs[member] ** 0.75)})
    (folder / "models.json").write_text(json.dumps(described, indent=1))
    return [entry["macs"] for entry in described]


def main() -> None:
    options = {"members": 518, "samples": 20_683, "classes": 1000, "seed": 0, "first": None}
    options |= {key: int(value) for key, _, value in (part.partition("=") for part in sys.argv[2:])}
    began = time.perf_counter()
    written = len(write(sys.argv[1], **options))
    seconds = time.perf_counter() - began
    whole = seconds / written * options["members"]
    print(f"{written} members in {seconds:.1f} s; {options['members']} would take {whole:.0f} s")


if __name__ == "__main__":
    main()
