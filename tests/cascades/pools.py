"""Pools for tests of cascades: a small made-up one, the real one of CIFAR-10, and a plain loop to judge cascades by."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from tests.benchmarks.synthetic_pool import make_costs, make_member, make_samples
from tests.real_data import PACKED


class RealPool(NamedTuple):
    """Logits (M, N, C) float32, labels (N,) int64, names (M), MACs (M,) float64, parameters (M,) float64."""

    logits: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    macs: np.ndarray
    params: np.ndarray


def small(members: int = 6, samples: int = 500, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, ...]:
    """A made-up pool: softmax (M, N, C) float16, labels (N,) int64, MACs (M,) float64 from cheap to costly."""
    shared = make_samples(samples, classes, seed)
    macs, top1 = make_costs(members, seed)
    softmax = [make_member(shared, member, top1[member], seed)[0] for member in range(members)]
    return np.stack(softmax), shared.labels, macs


def small_gaps(members: int = 6, samples: int = 500, classes: int = 10, seed: int = 0) -> np.ndarray:
    """The gaps between the two largest logits (M, N) float16 of the pool that `small` makes."""
    shared = make_samples(samples, classes, seed)
    top1 = make_costs(members, seed)[1]
    return np.stack([make_member(shared, member, top1[member], seed)[1] for member in range(members)])


def cifar10_pool() -> RealPool:
    """The 18 trained networks on the test images of CIFAR-10, in their order; skips the test where they are absent.

    All of them saw the whole training set: search on images 0 to 4,999, report on the others.
    """
    folder = PACKED / "cifar10_pool"
    outputs = folder / "cifar10_test_logits_18.npz"
    if not outputs.is_file():
        pytest.skip(f"the pool of trained CIFAR-10 networks is absent: no {outputs.name} beside the checkout")
    with np.load(outputs) as stored:
        logits, labels = stored["logits"], stored["labels"].astype(np.int64)
        names = tuple(str(name) for name in stored["names"])
    models = {model["name"]: model for model in json.loads((folder / "models.json").read_text())}
    macs, params = (np.array([models[name][key] for name in names], dtype=np.float64) for key in ("macs", "params"))
    return RealPool(logits, labels, names, macs, params)


def half_softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax of logits (..., C), computed in float32 and rounded to float16."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float16)


def logit_gaps(logits: np.ndarray) -> np.ndarray:
    """The gap between the two largest of logits (..., C), as float16 (...)."""
    second, first = np.moveaxis(np.partition(logits, -2, axis=-1)[..., -2:], -1, 0)
    return (first - second).astype(np.float16)


def naive(
    members: Sequence[int], thresholds: Sequence[float], softmax: np.ndarray, labels: np.ndarray
) -> tuple[int, list[int]]:
    """What a cascade does, sample by sample: wrong answers, and how many samples each stage sees.

    `members`: pool indices in their order; one that stands twice is asked twice and weighs twice. `thresholds`: one
    less. `softmax` (M, N, C) float16, `labels` (N,). The mean is a float64 sum of halves, which is exact, over their
    number, rounded to float32; a sample goes on while its largest mean is at most float32(threshold).
    """
    errors, reached = 0, [0] * len(members)
    for n, label in enumerate(labels):
        total = np.zeros(softmax.shape[2])
        for stage, member in enumerate(members):
            reached[stage] += 1
            total += softmax[member, n]
            mean = (total / (stage + 1)).astype(np.float32)
            if stage == len(members) - 1 or not mean.max() <= np.float32(thresholds[stage]):
                break
        errors += int(mean.argmax() != label)
    return errors, reached


def naive_plan(row: Sequence[int], slots: int, levels: int = 51, repeats: str = "refuse") -> tuple[list, list]:
    """What a row of genes means, slot by slot: pool indices and thresholds, without no-ops.

    The threshold that stands before a member's slot decides who goes on to it, unless it is the first member. With
    "refuse" a member that stands again is a no-op, with "charge" it is asked again.
    """
    members, thresholds = [], []
    for slot, gene in enumerate(row[:slots]):
        if gene == 0 or (repeats == "refuse" and gene - 1 in members):
            continue
        if members:
            thresholds.append(int(row[slots + slot - 1]) / (levels - 1))
        members.append(int(gene) - 1)
    return members, thresholds
