"""Cascades from stored outputs of sub-nets do what the cascade does that runs live."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.evolution.budget import keys
from src.evolution.joint_rows import THRESHOLDS, JointRows
from src.methods.cascade_outputs import JointCascades, SubnetOutputs
from src.networks.cascade import Cascade
from src.networks.cascade_rule import half_softmax

SAMPLES, CLASSES, NETS, CHOICES = 200, 3, 3, 2  # so many sub-nets each super-net has: rows of one gene


class Stored(nn.Module):
    """Logits by number: what a network says of the image that holds it."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images[:, 0].long()]


@pytest.fixture(scope="module")
def logits() -> Tensor:
    """(K, sub-nets, samples, classes)."""
    return 2 * torch.randn(NETS, CHOICES, SAMPLES, CLASSES, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(CLASSES, size=SAMPLES)


@pytest.fixture(scope="module")
def cascades(logits, labels) -> JointCascades:
    """Of sub-nets whose MACs and parameters tell which they are."""
    outputs = {}
    for net in range(NETS):
        for choice in range(CHOICES):
            said = half_softmax(logits[net, choice]).numpy()
            key = keys(np.array([[choice]]))[0]
            error = 100 * float((said.argmax(1) != labels).mean())
            outputs[net, key] = SubnetOutputs(error, said, 10**net * (choice + 1), 7 * net + choice + 1, 0.5)
    return JointCascades(JointRows([[CHOICES]] * NETS), outputs, labels)


def test_they_are_those_that_run_live(cascades, logits, labels):
    """Another order, threshold or level of the grid, and the search would be led by cascades that are not there."""
    layout, generator = cascades.layout, np.random.default_rng(1)
    rows = layout.canonical(generator.integers(0, layout.alphabet, size=(40, len(layout.alphabet))), [None] * NETS)
    parts, positions, levels = layout.split(rows)
    images = torch.arange(SAMPLES)[:, None]
    charged = set()
    for number, value in enumerate(cascades.measured(rows)):
        order = layout.order(positions)[number].tolist()
        live = Cascade(
            [Stored(logits[net, parts[net][number, 0]]) for net in order],
            [THRESHOLDS[levels[number, net]] for net in order[:-1]],
            macs=[10**net * (int(parts[net][number, 0]) + 1) for net in order],
        ).eval()
        wrong = live(images).argmax(1).numpy() != labels
        assert value.error == pytest.approx(100 * wrong.mean())
        assert value.macs == pytest.approx(live.average_macs())
        assert value.params == sum(7 * net + 1 + int(parts[net][number, 0]) for net in range(NETS))
        own = {(net, int(parts[net][number, 0])) for net in range(NETS)}
        assert value.seconds == 0.5 * len(own - charged)  # each sub-net's time once
        charged |= own


def test_errors_of_the_sub_nets_alone_are_those_of_their_super_nets(cascades, logits, labels):
    """In the order of the cascade they would teach the surrogate of one super-net what another one does."""
    layout = cascades.layout
    rows = layout.canonical(np.array([[1, 0, 1, 0, 1, 2, 4, 4, 4], [1, 0, 1, 2, 1, 0, 4, 4, 4]]), [None] * NETS)
    first, second = cascades.measured(rows)
    assert first.errors == second.errors
    expected = [100 * float((logits[net, c].argmax(1).numpy() != labels).mean()) for net, c in enumerate((1, 0, 1))]
    assert first.errors == pytest.approx(expected)
