"""Hypervolume and distance of fronts, against closed forms and the plain sweep."""

import numpy as np
import pytest

from src.errors import UserError
from src.reporting.hypervolume import gap_to, hypervolume

REFERENCE = (40.0, 4000.0)


def _sweep(points, reference):
    """By increasing cost, every point that lowers the error adds a rectangle up to the reference."""
    volume, lowest = 0.0, reference[0]
    for error, cost in sorted(points.tolist(), key=lambda point: (point[1], point[0])):
        if error < lowest and cost < reference[1]:
            volume += (lowest - error) * (reference[1] - cost)
            lowest = error
    return volume


def test_one_point_has_the_area_of_its_rectangle():
    assert hypervolume([[5.0, 300.0]], REFERENCE) == pytest.approx((40 - 5) * (4000 - 300) / 160_000)
    assert hypervolume([[5.0, 300.0]], REFERENCE, normalised=False) == pytest.approx(35 * 3700)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_sweep_also_with_dominated_and_far_points(seed):
    points = np.random.default_rng(seed).uniform(0, (60, 6000), (200, 2))
    points[:20] = points[20:40]  # and equal ones
    assert hypervolume(points, REFERENCE, normalised=False) == pytest.approx(_sweep(points, REFERENCE), rel=1e-12)


@pytest.mark.parametrize("point", [(40.0, 10.0), (50.0, 10.0), (5.0, 4000.0), (5.0, 9e9), (np.nan, 1.0), (5.0, np.inf)])
def test_what_is_not_below_the_reference_counts_nothing(point):
    assert hypervolume([point], REFERENCE) == 0
    assert hypervolume([point, (20.0, 2000.0)], REFERENCE) == pytest.approx(0.25)


def test_an_empty_front_has_no_volume():
    assert hypervolume(np.zeros((0, 2)), REFERENCE) == 0


def test_the_distance_of_a_front_from_the_exact_one():
    exact = np.array([[10.0, 1000.0], [5.0, 2000.0]])
    assert gap_to(exact, exact, REFERENCE) == gap_to(exact[::-1], exact, REFERENCE)
    same = gap_to(exact, exact, REFERENCE)
    assert (same.relative, same.epsilon) == (0, 0)
    gap = gap_to([[12.0, 1000.0], [5.0, 2400.0]], exact, REFERENCE)
    assert gap.exact_hypervolume == pytest.approx((30 * 3000 + 5 * 2000) / 160_000)
    assert gap.relative == pytest.approx((2 * 3000 + 5 * 2000 - 7 * 1600 + 0) / (30 * 3000 + 5 * 2000))
    assert gap.epsilon == pytest.approx(max(2 / 40, 400 / 4000))
    assert gap_to([], exact, REFERENCE).relative == 1
    assert gap_to([], exact, REFERENCE).epsilon == np.inf


@pytest.mark.parametrize("reference", [(40, 0), (40, -1), (np.nan, 4000), (), ("40", 4000)])
def test_a_reference_that_bounds_nothing_is_a_mistake(reference):
    with pytest.raises(UserError, match="reference"):
        hypervolume([[5.0, 300.0]], reference)


def test_an_exact_front_beyond_the_reference_is_a_mistake():
    with pytest.raises(UserError, match="no point of the exact front"):
        gap_to([[5.0, 300.0]], [[5.0, 5000.0]], REFERENCE)
    with pytest.raises(ValueError, match=r"must be \(n, 2\)"):
        hypervolume([[1.0, 2.0, 3.0]], REFERENCE)
