"""The search of ENCAS-joint: over joint rows, by MO-GOMEA, on what a surrogate predicts of them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import UniqueEvaluations
from src.evolution.joint_surrogate import JointSurrogate
from src.evolution.mo_gomea import mo_gomea
from src.evolution.reference_survival import survivors


def propose_joint(
    surrogate: JointSurrogate,
    macs_of: Sequence[Callable[[NDArray], NDArray]],
    canonicals: Sequence[Callable[[NDArray], NDArray] | None],
    seed: int,
    evaluations: int = 10_000,
    start: NDArray | None = None,
    count: int | None = None,
    search: Callable = mo_gomea,
    report: Callable[[int], None] | None = None,
) -> tuple[NDArray, NDArray]:
    """Joint rows that are good by predicted error and average MACs: those that nothing else found dominates, or more.

    Args:
        surrogate: fitted.
        macs_of: for each super-net, its rows int64 (N, d_k) -> MACs (N,).
        canonicals: for each super-net, its rows -> canonical rows (N, d_k); None: as they are.
        seed: of all draws; keyed by the caller.
        evaluations: different canonical rows that are predicted, at most.
        start: (n, d) rows that enter the archive before the search and count as evaluations: it draws on them when
            it is at a standstill. None: none, as published.
        count: how many of all rows predicted are returned, chosen by front after front and reference directions
            (`survivors`): fronts of a surrogate may have few rows. None: those of the first front.
        search: called with unique evaluations, alphabet, seed and report: mo_gomea or, for comparison, nsga2 or
            random_rows, or one of them with more arguments bound to it.
        report: called after every batch with the number of rows predicted.

    Returns:
        rows int64 (F, d), canonical, and their predicted objectives float64 (F, 2).
    """
    layout = surrogate.layout

    def objectives(rows: NDArray) -> NDArray:
        parts, _, _ = layout.split(rows)
        macs = np.stack([count(part) for count, part in zip(macs_of, parts, strict=True)], axis=1)
        return surrogate.predict(rows, macs)

    asked = UniqueEvaluations(objectives, evaluations, lambda rows: layout.canonical(rows, canonicals))
    if start is not None and len(start):
        asked(start)
    search(asked, layout.alphabet, seed, report=None if report is None else lambda: report(asked.used))
    if count is None:
        return asked.archive.rows, asked.archive.objectives
    kept = survivors(asked.objectives, count, seed)
    return asked.rows[kept], asked.objectives[kept]
