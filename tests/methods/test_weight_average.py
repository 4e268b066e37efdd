"""The mean of the weights of several moments is that of torch."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from src.methods.weight_average import WeightAverage


def test_the_mean_is_that_of_torch_also_after_a_resume():
    """A wrong weight of the moments would favour the first or the last of them; a lost count, those after a resume."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    average, theirs = WeightAverage(), AveragedModel(network, use_buffers=True)
    for moment in range(5):
        for value in network.state_dict().values():
            value.copy_(torch.randn(value.shape)) if value.is_floating_point() else value.fill_(moment)
        average.add(network.state_dict())
        theirs.update_parameters(network)
        kept, average = average.state_dict(), WeightAverage()
        average.load_state_dict(kept)
    mean = average.state(network.state_dict())
    for name, value in theirs.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(mean[name], value)
    assert mean["1.num_batches_tracked"] == 4  # the last one's: a mean of counts is none


def test_what_is_averaged_is_not_the_network_itself():
    """A view of the weights would follow them, and the average be the last moment."""
    network = nn.Linear(2, 2, bias=False)
    average = WeightAverage()
    with torch.no_grad():
        for value in (1.0, 2.0, 6.0):
            network.weight.fill_(value)
            average.add(network.state_dict())
        network.weight.fill_(100)
    mean = average.state(network.state_dict())["weight"]
    assert mean.dtype == torch.float32
    assert mean.tolist() == [[3, 3], [3, 3]]
