"""The measured column of a cost table: which parts are measured, and where the figures go."""

import itertools
import time

import pytest
import torch
from torch import nn

from src.methods import operation_latency
from src.methods.latency import LatencyProbe
from src.methods.operation_latency import part_times, with_latency
from src.spaces.operation_space import OperationSpace
from tests.networks.mobile import SMALL

BASE = {"_target_": "src.networks.inverted_residual.InvertedResidualNet", "operations": "ir_k3_e1", **SMALL}
CPU = torch.device("cpu")


@pytest.fixture
def space() -> OperationSpace:
    return OperationSpace(BASE, (3, 10, 12), ["ir_k3_e1", "ir_k5_e2_se"])


def test_each_operation_stands_where_it_belongs(space, monkeypatch):
    """With parameters for milliseconds the column must be that of the parameters, of the fixed part too.

    Every third pass is a thousand times slower, as when another process takes the CPU: the medians must not move.
    """
    turns, seen = itertools.count(), set()

    def told(parts, images):
        assert not any(part.training for part in parts)
        assert images.shape == (4, 3, 10, 12)
        seen.update((place, id(part)) for place, part in enumerate(parts))
        factor = 1000 if next(turns) % 3 == 0 else 1
        return [float(factor * sum(parameter.numel() for parameter in part.parameters())) for part in parts]

    monkeypatch.setattr(operation_latency, "part_times", told)
    table = with_latency(space, LatencyProbe(4, 12), CPU)
    assert table.names == ("macs", "params", "latency")
    assert torch.equal(table.table[2], table.table[1])
    assert torch.equal(table.fixed[2], table.fixed[1])
    assert torch.equal(table.allowed, space.costs.allowed)
    assert len(seen) == 2 + space.costs.allowed.sum()  # each operation of each block ran, in its place


def test_times_are_those_of_the_parts():
    class Sleeper(nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def forward(self, x):
            assert not torch.is_grad_enabled()
            time.sleep(self.seconds)
            return x + 1

    slow, fast = part_times([Sleeper(0.03), Sleeper(0.005)], torch.zeros(1))
    assert slow >= 30
    assert 5 <= fast < slow


def test_measured_times_add_up_and_draw_no_random_number(space):
    before = torch.get_rng_state()
    table = with_latency(space, LatencyProbe(repeats=4), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    skipped = torch.tensor([name == "skip" for name in space.operations])
    assert (table.table[2][table.allowed & ~skipped] > 0).all()
    assert (table.table[2][:, skipped] == 0).all()
    choice = torch.zeros(5, dtype=torch.int64)
    assert table.of(choice)[2] == pytest.approx(float(table.fixed[2] + table.table[2, :, 0].sum()))
