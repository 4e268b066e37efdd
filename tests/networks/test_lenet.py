"""The LeNets of the pruning literature, by their published sizes."""

import pytest
import torch

from src.errors import UserError
from src.networks.lenet import LeNet5, LeNet300100


@pytest.mark.parametrize(("build", "weights"), [(LeNet300100, 266_200), (LeNet5, 430_500)])
def test_sizes(build, weights):
    """Compression is told relative to these numbers."""
    model = build()
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == weights
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_other_images():
    assert LeNet300100(num_classes=4, in_channels=3, image_size=8)(torch.randn(2, 3, 8, 8)).shape == (2, 4)
    assert LeNet5(num_classes=4, in_channels=3, image_size=16)(torch.randn(2, 3, 16, 16)).shape == (2, 4)
    with pytest.raises(UserError, match=r"model.image_size=15 is too small"):
        LeNet5(image_size=15)
