"""The lesion study over batches and processes."""

import pytest
import torch

from src.graph.vital_blocks import vital_blocks
from src.methods import lesion_study as module
from src.methods.lesion_study import first_images, lesion_study
from src.networks.resnet import ResNet
from src.runtime.ranks.sharding import shares
from src.tasks.classification import Classification


@pytest.fixture
def given():
    torch.manual_seed(0)
    network = ResNet([2, 1], [4, 8], 5, 1)
    batches = [(torch.randn(40, 1, 8, 8), torch.randint(5, (40,))) for _ in range(3)]
    for norm in (part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0
    with torch.no_grad():  # so that the images do not all fall into one class
        network.train()(batches[0][0])
        network.fc.bias -= network.eval()(batches[0][0]).mean(0)
    return network, vital_blocks(network, (1, 8, 8)), batches


def test_several_processes_find_what_one_finds(given, monkeypatch):
    """They share the blocks; a mask that depended on the share would make the result one of the number of processes."""
    network, found, batches = given
    alone = lesion_study(network, found, [0.3, 0.6], Classification(5), batches, seed=1)
    assert set(alone.accuracy) == {(block, rate) for block in found.blocks for rate in (0.3, 0.6)}
    assert len(set(alone.accuracy.values())) > 2
    parts: list[dict] = []
    monkeypatch.setattr(module, "gathered", lambda own: parts.append(own) or parts)
    for rank in range(2):
        monkeypatch.setattr(module, "own_share", lambda costs, rank=rank: shares(costs, 2)[rank])
        if rank == 0:  # of the blocks of the other process it knows nothing
            with pytest.raises(KeyError):
                lesion_study(network, found, [0.3, 0.6], Classification(5), batches, seed=1)
    assert lesion_study(network, found, [0.3, 0.6], Classification(5), batches, seed=1) == alone
    assert not {*parts[0]} & {*parts[1]} - {None}


def test_another_seed_draws_other_masks(given):
    """Else the spread over draws could not be measured."""
    network, found, batches = given
    network.eval()
    draws = [lesion_study(network, found, [0.5], Classification(5), batches, seed).accuracy for seed in range(4)]
    assert len({tuple(draw.values()) for draw in draws}) > 1
    assert draws[0] == lesion_study(network, found, [0.5], Classification(5), batches, 0).accuracy


def test_the_first_images_are_cut_exactly(given):
    """`images` bounds the time of the study."""
    _, _, batches = given
    assert [len(images) for images, _ in first_images(batches, 55)] == [40, 15]
    assert [len(labels) for _, labels in first_images(batches, 80)] == [40, 40]
    assert sum(len(images) for images, _ in first_images(batches, None)) == 120
