"""How good a front is: its hypervolume, and its distance from a front that is known to be the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from src.errors import UserError, check_range


@dataclass(frozen=True)
class FrontGap:
    """How far a front is from the exact one.

    `relative`: the share of the exact hypervolume that the front lacks (0: none). `epsilon`: the additive epsilon
    indicator with every objective divided by its reference, i.e. the least by which the whole front must be made better
    in every objective, as a share of the reference, to be nowhere behind the exact front; infinite for an empty front.
    """

    hypervolume: float
    exact_hypervolume: float
    relative: float
    epsilon: float


def hypervolume(points: np.ndarray, reference: Sequence[float], normalised: bool = True) -> float:
    """The volume between `points` (n, d), objectives to be made small, and the `reference` point (d), by moocore.

    Points that are not below the reference in every objective, and those that are not finite, count 0. `normalised`: as
    a share of the box between 0 and the reference, which for (error %, MFLOPs) and (40, 4000) is the measure of the
    ENCAS paper. Raises `UserError` for a reference that is not made of positive numbers.
    """
    reference = _checked_reference(reference)
    points = _finite(points, len(reference))
    points = points[(points < reference).all(axis=1)]
    volume = float(moocore.hypervolume(points, ref=reference)) if len(points) else 0.0
    return volume / float(np.prod(reference)) if normalised else volume


def gap_to(front: np.ndarray, exact_front: np.ndarray, reference: Sequence[float]) -> FrontGap:
    """How far `front` (n, d) is from `exact_front` (m, d), both in the objectives of `reference` (d).

    Raises `UserError` where no point of the exact front lies below the reference, as there is then nothing to compare.
    """
    reference = _checked_reference(reference)
    front, exact_front = (_finite(points, len(reference)) for points in (front, exact_front))
    volume, exact = hypervolume(front, reference), hypervolume(exact_front, reference)
    if not exact:
        given = ", ".join(f"{value:g}" for value in reference)
        raise UserError(f"reference=[{given}] is not allowed; no point of the exact front lies below it")
    epsilon = float(moocore.epsilon_additive(front / reference, ref=exact_front / reference)) if len(front) else np.inf
    return FrontGap(volume, exact, (exact - volume) / exact, epsilon)


def _checked_reference(reference: Sequence[float]) -> np.ndarray:
    values = list(reference)
    if not values:
        raise UserError("reference=[] is not allowed; it must hold a positive number for each objective")
    for i, value in enumerate(values):
        check_range(f"reference[{i}]", float(value) if isinstance(value, np.number) else value)
        if value <= 0:
            raise UserError(f"reference[{i}]={value!r} is not allowed; it must be a number above 0")
    return np.array(values, dtype=np.float64)


def _finite(points: np.ndarray, objectives: int) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    if points.size == 0:
        return np.zeros((0, objectives))
    if points.ndim != 2 or points.shape[1] != objectives:
        raise ValueError(f"points {points.shape} must be (n, {objectives}), an objective for each one of the reference")
    return points[np.isfinite(points).all(axis=1)]
