"""The numbers that decide widths, from weights whose structure is known."""

import math

import pytest
import torch

from src.errors import UserError
from src.lowrank.metrics import failed_keys, measure
from tests.lowrank.matrices import gaussian, planted, solve


def convolution(channels_out: int, channels_in: int, rank: int, seed: int = 0) -> torch.Tensor:
    """A 3x3 weight whose output unfolding has exactly `rank` planted directions."""
    return planted(channels_out, channels_in * 9, rank, seed).view(channels_out, channels_in, 3, 3).float()


def test_metrics_of_a_known_layer():
    weight = convolution(32, 16, rank=5)
    found = measure({"layer": weight})
    assert list(found) == [("layer", "in"), ("layer", "out")]
    d = solve(weight.flatten(1)).singular_values[0, :5]
    out = found["layer", "out"]
    assert (out.rank, out.rank_count, out.failed) == (5 / 32, 5, False)
    assert out.gain == pytest.approx((d.sum() / d[0] / 32).item())
    assert out.condition == pytest.approx((d[0] / d[4]).item())
    assert out.condition >= 1
    assert found["layer", "in"].rank_count == solve(weight.transpose(0, 1).flatten(1)).rank.item()


@pytest.mark.parametrize(("shape", "ceiling"), [((32, 144), 26), ((32, 32), 15), ((64, 16), 12)])
def test_normalisation_by_rows_and_by_ceiling(shape: tuple[int, int], ceiling: int):
    """By rows a square 1x1 layer can never pass one half; by the ceiling all shapes share one scale."""
    weight = planted(*shape, 4, seed=1)
    by_rows = measure({"layer": weight}, sides=("out",))["layer", "out"]
    by_ceiling = measure({"layer": weight}, normalise="ceiling", sides=("out",))["layer", "out"]
    assert (by_rows.rank, by_ceiling.rank) == (4 / shape[0], 4 / ceiling)
    assert (by_rows.gain, by_rows.condition) == (by_ceiling.gain, by_ceiling.condition)


def test_layers_without_signal_are_zero_and_not_nan():
    weights = {
        "zero": torch.zeros(8, 8, 3, 3),
        "depthwise": gaussian(8, 9, 0).view(8, 1, 3, 3),
        "one": torch.ones(1, 1),
    }
    for normalise in ("rows", "ceiling"):
        found = measure(weights, normalise=normalise)
        numbers = [(entry.rank, entry.rank_count, entry.gain, entry.condition) for entry in found.values()]
        assert numbers == [(0.0, 0, 0.0, 0.0)] * 6


def test_a_layer_does_not_depend_on_its_company():
    """Batching pads and chunks: nothing of it may leak from one layer into another."""
    weights = {f"layer{seed}": convolution(8 + 7 * seed, 16, rank=3, seed=seed) for seed in range(6)}
    together = measure(weights)
    for name, weight in weights.items():
        for key, entry in measure({name: weight}).items():
            assert together[key].rank_count == entry.rank_count
            assert together[key].gain == pytest.approx(entry.gain, rel=1e-9)
            assert together[key].condition == pytest.approx(entry.condition, rel=1e-9)


def test_metrics_do_not_change_with_the_scale_of_the_weights():
    weight = convolution(24, 12, rank=4).double()
    base = measure({"layer": weight})
    for scale in (1e-4, 1e4):
        for key, entry in measure({"layer": scale * weight}).items():
            assert entry.rank == base[key].rank
            assert entry.gain == pytest.approx(base[key].gain, rel=1e-7)
            assert entry.condition == pytest.approx(base[key].condition, rel=1e-7)


def test_failures_of_the_reference_solver_are_named():
    found = measure({"tall": gaussian(200, 20, 0), "wide": planted(20, 200, 3, 0)}, solver="reference", sides=("out",))
    assert failed_keys(found) == [("tall", "out")]
    assert math.isnan(found["tall", "out"].rank)
    assert (found["tall", "out"].rank_count, found["wide", "out"].rank_count) == (-1, 3)


def test_bad_input():
    weight = convolution(8, 4, rank=1)
    assert measure({}) == {}
    with pytest.raises(UserError, match="did you mean 'ceiling'"):
        measure({"layer": weight}, normalise="cieling")
    with pytest.raises(UserError, match="did you mean 'reference'"):
        measure({}, solver="refrence")
    with pytest.raises(UserError, match="'layer' holds NaN"):
        measure({"layer": weight * float("nan")})
