"""Targets: met from both sides, and what the config may ask for."""

import pytest
import torch

from src.errors import UserError
from src.spaces.targets import targets_of
from tests.spaces.cost_tables import random_table, targets

TABLE = random_table(0, costs=3)
BASE = {"macs": 4000, "params": 200}


def test_targets_are_met_from_both_sides_and_all_of_them():
    two = targets(0.05, macs=100, params=40)
    costs = torch.tensor([[100.0, 40], [95, 42], [105, 38], [94.9, 40], [105.1, 40], [100, 37.9], [100, 42.1]])
    assert two.met(costs).tolist() == [True] * 3 + [False] * 4


def test_no_tolerance_asks_for_the_very_cost():
    assert targets(0.0, macs=300_000_001).met(torch.tensor([[300_000_000], [300_000_001]])).tolist() == [
        0,
        1,
    ]


@pytest.mark.parametrize("tolerance", [0.05, 0.1, 0.01])
def test_the_edge_of_the_band_is_inside_whatever_the_rounding(tolerance):
    values = [float(v) for v in range(100, 20_000, 100)]
    edges = [[round(v * (1 + sign * tolerance))] for v in values for sign in (-1, 1)]
    met = [
        targets(tolerance, macs=v).met(torch.tensor([edge]).double()).item()
        for v, edge in zip([v for v in values for _ in range(2)], edges, strict=True)
    ]
    assert all(met)


def test_below_ten_macs_and_parameters_are_shares_of_the_base_model_but_milliseconds_are_not():
    made = targets_of({"latency": 2.5, "params": 0.5, "macs": 3e3}, 0.1, BASE, TABLE)
    assert made.names == TABLE.names
    assert made.values.tolist() == [3000, 100, 2.5]
    assert targets_of({"macs": 1.0, "params": None}, 0.1, BASE, TABLE).names == ("macs",)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mac": 1.0}, "method.targets.mac is no cost that this search knows; did you mean 'macs'?"),
        ({"macs": None}, "method.targets has no target"),
        ({"macs": "1.0"}, "method.targets.macs='1.0' is not allowed"),
        ({"macs": 0}, "method.targets.macs=0 is not allowed; it must be a number above 0, below 10 a share"),
        ({"latency": -1}, "method.targets.latency=-1 is not allowed; it must be a number above 0 or null"),
        ({"macs": float("nan")}, "method.targets.macs=nan"),
        (1.0, "method.targets=1.0 is not allowed"),
    ],
)
def test_a_mistake_in_the_targets_names_its_key(given, told):
    with pytest.raises(UserError) as error:
        targets_of(given, 0.05, BASE, TABLE)
    assert told in str(error.value)


def test_a_latency_target_needs_a_table_of_latencies():
    with pytest.raises(UserError, match=r"method\.targets\.latency is no cost that this search knows"):
        targets_of({"latency": 1.0}, 0.05, BASE, TABLE.only(["macs", "params"]))
