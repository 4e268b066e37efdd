"""Measured latency: the median of passes in evaluation mode, without those that warm up."""

import time

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.methods.latency import LatencyProbe

CPU = torch.device("cpu")


class Sleeper(nn.Module):
    """Takes the given seconds, one after the other; notes what it was called with."""

    def __init__(self, seconds) -> None:
        super().__init__()
        self.seconds, self.shapes, self.modes = iter(seconds), [], set()

    def forward(self, images):
        self.shapes.append(tuple(images.shape))
        self.modes.add((self.training, torch.is_grad_enabled()))
        time.sleep(next(self.seconds))
        return images


def test_it_is_the_median_in_milliseconds_of_what_comes_after_the_warm_up():
    """A first pass allocates and may be many times slower; one that was disturbed must not move the result."""
    network = Sleeper([0.2, 0.2, 0.2, 0.01, 0.01, 0.15, 0.01, 0.01])
    assert 10 <= LatencyProbe(4, 5).measure(network, (3, 8, 8), CPU) < 100
    assert network.shapes == [(4, 3, 8, 8)] * 8
    assert network.modes == {(False, False)}


@pytest.mark.parametrize("options", [{"batch": 0}, {"repeats": 0}, {"repeats": 1.5}])
def test_its_arguments_are_checked(options):
    with pytest.raises(UserError, match=r"method\.latency_"):
        LatencyProbe(**options)
