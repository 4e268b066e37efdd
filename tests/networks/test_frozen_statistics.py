"""A step that is not to be noted leaves no trace in a batch norm."""

import copy

import pytest
import torch
from torch import nn

from src.networks.frozen_statistics import frozen_statistics
from tests.networks.mobile import images_of, small_supernet

CHOSEN = (0, 0, 0, 0, 0)


def buffers(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.named_buffers()}


def same(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("sync", [False, True])
def test_no_statistic_moves_and_the_outputs_are_those_of_training(sync):
    """Buffers bit for bit, the count of batches too; outputs and gradients as without the block."""
    network = small_supernet().train()
    if sync:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network(images_of(), chosen=CHOSEN)
    plain, before, state = copy.deepcopy(network), buffers(network), list(network.state_dict())
    with frozen_statistics(network):
        outputs = network(images_of(seed=5), chosen=CHOSEN)
        outputs.square().sum().backward()
    expected = plain(images_of(seed=5), chosen=CHOSEN)
    expected.square().sum().backward()
    assert torch.equal(outputs, expected)
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert one.grad is other.grad is None or torch.equal(one.grad, other.grad)
    assert same(before, buffers(network))
    assert not same(before, buffers(plain))  # else nothing was shown
    assert list(network.state_dict()) == state


def test_in_evaluation_mode_running_statistics_are_used():
    network = small_supernet().eval()
    with torch.no_grad():
        expected = network(images_of(), chosen=CHOSEN)
        with frozen_statistics(network):
            assert torch.equal(network(images_of(), chosen=CHOSEN), expected)


def test_afterwards_statistics_are_noted_again_also_after_an_error():
    network = small_supernet().train()
    untracked = nn.BatchNorm2d(3, track_running_stats=False)
    before, both = buffers(network), nn.ModuleList([network, untracked])
    with pytest.raises(RuntimeError), frozen_statistics(both):
        raise RuntimeError
    network(images_of(), chosen=CHOSEN)
    assert not same(before, buffers(network))
    assert not untracked.track_running_stats
