"""One training as `retrain` does it, without a trainer: the same data, orders, first weights, steps and schedule.

A Lightning trainer takes longer to set up than these networks take to train; the test holds the two against each other.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from src.data.digits import DigitsData
from src.runtime.build import network_from
from src.runtime.schedules import cosine
from src.runtime.seeds import seeded
from src.spaces.widths import resized_config
from src.tasks.classification import Classification

BASE = {
    "_target_": "src.networks.resnet.ResNet",
    "blocks": [1, 1],
    "channels": [8, 16],
    "num_classes": 10,
    "in_channels": 1,
}
INPUT_SHAPE = (1, 8, 8)
EPOCHS = 30
VAL_FRACTION = 0.5  # of what is not for testing: a large part, so that errors have a fine scale


class Errors(NamedTuple):
    """In percent."""

    val: float
    test: float


def digits_data() -> DigitsData:
    """`data=digits` with half of the training images for validation; the split is that of seed 0 in every run."""
    data = DigitsData(
        name="digits",
        num_classes=10,
        channels=1,
        val_fraction=VAL_FRACTION,
        batch_size=64,
        augment={"crop": 1, "flip": False, "cutout": 0},
        mean=[0.3057],
        std=[0.3761],
        seed=0,
    )
    data.prepare_data()
    data.setup()
    return data


def trained_errors(widths: Mapping[str, int], data: DigitsData, seed: int, epochs: int = EPOCHS) -> Errors:
    """The errors of the network of these widths (group -> channels), trained from scratch with `seed`.

    Raises:
        ArithmeticError: the training has diverged.
    """
    with seeded(seed, "network", 0):
        network = network_from(resized_config(BASE, INPUT_SHAPE, widths))
    data.order_seed = seed
    loader = data.train_dataloader()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = cosine(optimizer, total_steps=epochs * len(loader), warmup=0.1)
    task = Classification(10)
    network.train()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for images, labels in loader:
            loss = task.loss(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if not torch.isfinite(loss):
            raise ArithmeticError(f"widths {dict(widths)}, seed {seed}: the loss is {float(loss)}")
    return Errors(_error(network, task, data.val_dataloader()), _error(network, task, data.test_dataloader()))


@torch.no_grad()
def _error(network: nn.Module, task: Classification, loader) -> float:
    network.eval()
    metrics = task.metrics()
    for images, labels in loader:
        metrics.update(network(images), labels)
    return float(metrics.compute()["error"])
