"""The measured column of a cost table: which parts are measured, and where the figures go."""

import torch

from src.methods.latency import LatencyProbe
from src.methods.operation_latency import with_latency
from src.spaces.operation_space import OperationSpace
from tests.networks.mobile import SMALL

BASE = {"_target_": "src.networks.inverted_residual.InvertedResidualNet", "operations": "ir_k3_e1", **SMALL}


class Counting(LatencyProbe):
    """Tells the parameters of a module in place of its time."""

    def measure(self, network, input_shape, device):
        self.measured = [*getattr(self, "measured", []), tuple(input_shape)]
        network.eval()(torch.zeros(1, *input_shape))  # it takes such maps
        return float(sum(parameter.numel() for parameter in network.parameters()))


def test_each_operation_is_measured_once_and_stands_where_it_belongs():
    """With parameters for milliseconds the column must be that of the parameters, of the fixed part too."""
    space, probe = OperationSpace(BASE, (3, 10, 12), ["ir_k3_e1", "ir_k5_e2_se"]), Counting()
    table = with_latency(space, probe, torch.device("cpu"))
    assert table.names == ("macs", "params", "latency")
    assert torch.equal(table.table[2], table.table[1])
    assert torch.equal(table.fixed[2], table.fixed[1])
    assert torch.equal(table.allowed, space.costs.allowed)
    # stem, head, and two operations in each of three kinds of blocks: 0 and 1 are alike, and 3 and 4
    assert probe.measured == [(3, 10, 12), (12, 5, 6), *[(8, 10, 12)] * 4, *[(12, 5, 6)] * 2]


def test_measured_times_are_those_of_passes_and_draw_no_random_number():
    space, before = OperationSpace(BASE, (3, 12, 12), ["ir_k3_e1", "ir_k7_e6"]), torch.get_rng_state()
    table = with_latency(space, LatencyProbe(repeats=3), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    skipped = torch.tensor([name == "skip" for name in space.operations])
    assert (table.table[2][table.allowed & ~skipped] > 0).all()
    assert (table.table[2][:, skipped] == 0).all()
    choice = torch.zeros(5, dtype=torch.int64)
    assert table.of(choice)[2] == table.fixed[2] + table.table[2, :, 0].sum()
