"""A cascade of two tiny networks on the digits in a run folder, as a search leaves one behind."""

from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import nn

from src.runtime.architecture import save_architecture
from src.runtime.build import network_from
from tests.networks.cascades import spread
from tests.searching import BASE, digits

CONFIG = {
    "_target_": "src.networks.cascade.Cascade",
    "members": [BASE, {**BASE, "channels": [16, 24]}],
    "thresholds": [0.5],
    "names": ["narrow", "wide"],
}
DATA = {
    "_target_": "src.data.digits.DigitsData",
    "_convert_": "all",
    **{"name": "digits", "num_classes": 10, "channels": 1, "limit": 320, "mean": [0.3057], "std": [0.3761]},
}


def write_cascade(folder: Path, weights: bool = True) -> dict:
    """Untrained members whose logits lie apart, and a threshold that half of the images pass; returns the config."""
    torch.manual_seed(0)
    images = torch.cat([images for images, _ in digits().val_dataloader()])
    network = network_from(CONFIG)
    for member in network.members:
        nn.init.normal_(member.fc.weight, std=3.0)
        member(images)  # batch statistics
    spread(network.eval(), images)
    config = {**CONFIG, "thresholds": network.thresholds}
    (folder / ".hydra").mkdir(parents=True)
    save_architecture(folder / "architecture.yaml", config)
    OmegaConf.save(OmegaConf.create({"data": DATA}), folder / ".hydra" / "resolved.yaml")
    if weights:
        torch.save(network.state_dict(), folder / "weights.pt")
    return config
