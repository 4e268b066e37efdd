"""Cascades by what they are made of, and what each of them comes to on the samples of a pool.

A cascade is plain values: {"members": [names], "thresholds": [numbers]} or, of the greedy search, whose members answer
by themselves, {"members": [names], "gaps": [numbers]}.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.genotype import canonical, decode
from src.cascades.greedy import GapPlan, evaluate_gap_cascade
from src.cascades.pool import COST_FIELDS, COSTS, Pool
from src.cascades.thresholds import ThresholdGrid

Architecture = dict[str, Any]


def architectures_of(rows: np.ndarray, names: Sequence[str], grid: ThresholdGrid, repeats: str) -> list[Architecture]:
    """The cascades of rows of genes (B, 2K - 1)."""
    plans = [decode(row, grid.values) for row in canonical(np.asarray(rows, dtype=np.int64), repeats)]
    return [{"members": [names[m] for m in plan.members], "thresholds": list(plan.thresholds)} for plan in plans]


def gap_architecture(plan: GapPlan, names: Sequence[str]) -> Architecture:
    return {"members": [names[m] for m in plan.members], "gaps": [float(gap) for gap in plan.gaps]}


def rows_of(cascades: Sequence[Architecture], names: Sequence[str], slots: int, grid: ThresholdGrid) -> np.ndarray:
    """Rows of genes (B, 2K - 1) of cascades with thresholds."""
    rows = np.zeros((len(cascades), 2 * slots - 1), dtype=np.int64)
    number = {name: index + 1 for index, name in enumerate(names)}
    for row, cascade in zip(rows, cascades, strict=True):
        members, thresholds = cascade["members"], cascade["thresholds"]
        row[: len(members)] = [number[name] for name in members]
        row[slots : slots + len(thresholds)] = [round(value * (len(grid) - 1)) for value in thresholds]
    return rows


def measured(evaluator: CascadeEvaluator, cascades: Sequence[Architecture]) -> list[dict[str, float]]:
    """Of each cascade error (percent), macs, and params and latency_ms where they are known of all members."""
    pool = evaluator.pool
    names = ["error", *known_costs(pool)]
    found: list[dict[str, float]] = [{} for _ in cascades]
    here = [place for place, cascade in enumerate(cascades) if "thresholds" in cascade]
    if here:
        rows = rows_of([cascades[place] for place in here], pool.names, evaluator.slots, evaluator.grid)
        for place, values in zip(here, evaluator.objectives(rows, names).tolist(), strict=True):
            found[place] = {COST_FIELDS.get(name, name): value for name, value in zip(names, values, strict=True)}
        for place, row in zip(here, rows, strict=True):
            found[place] |= _by_samples(evaluator, cascades[place]["members"], row)
    gaps = [place for place, cascade in enumerate(cascades) if "gaps" in cascade]
    if gaps:
        correct, gap = answers(pool)
        for place in gaps:
            found[place] = _by_gaps(pool, cascades[place], correct, gap)
    return found


def _by_samples(evaluator: CascadeEvaluator, members: Sequence[str], row: np.ndarray) -> dict[str, float]:
    """The MACs of a cascade with members that do not spend the same on every sample; nothing where they all do."""
    pool = evaluator.pool
    numbers = [pool.names.index(name) for name in members]
    varying = [None if pool.sample_macs is None else pool.sample_macs[number] for number in numbers]
    if all(macs is None for macs in varying):
        return {}
    total = 0.0
    for number, macs, seen in zip(numbers, varying, evaluator.seen(row), strict=False):
        total += pool.members[number].macs * seen.sum() if macs is None else macs[seen].sum()
    return {"macs": float(total / pool.samples)}


def _by_gaps(pool: Pool, cascade: Architecture, correct: np.ndarray, gaps: np.ndarray) -> dict[str, float]:
    members = [pool.names.index(name) for name in cascade["members"]]
    plan = GapPlan(tuple(members), tuple(cascade["gaps"]))
    values: dict[str, float] = {}
    for name in known_costs(pool):
        values["error"], average, _ = evaluate_gap_cascade(plan, correct, gaps, pool.costs(name))
        values[COST_FIELDS[name]] = float(pool.costs(name)[members].sum()) if name == "params" else average
    return values


def known_costs(pool: Pool) -> list[str]:
    """Those of macs, latency and params that all members have."""
    fields = {name: [getattr(member, COST_FIELDS[name]) for member in pool.members] for name in COSTS}
    return [name for name, values in fields.items() if None not in values]


def answers(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Which samples each member gets right by itself, bool (M, N), and its logit gaps, float16 (M, N)."""
    correct = np.stack([np.argmax(output, axis=1) == pool.labels for output in pool.outputs])
    return correct, np.stack([np.asarray(gap) for gap in pool.gaps])


def stages_of(evaluator: CascadeEvaluator, cascade: Architecture) -> tuple[list[str], list[int], list[float]]:
    """Of a cascade with thresholds: its members, how many samples each sees, and the MACs of each."""
    pool, count = evaluator.pool, len(cascade["members"])
    _, reached = evaluator.counts(rows_of([cascade], pool.names, evaluator.slots, evaluator.grid))
    macs = dict(zip(pool.names, pool.costs("macs").tolist(), strict=True))
    return cascade["members"], reached[0, :count].tolist(), [macs[name] for name in cascade["members"]]
