"""Mobile networks that several tests use: those of `conf/model`, and a small one."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.networks.operation_supernet import OperationSupernet
from src.runtime.build import network_from

CONF = Path(__file__).parents[2] / "conf" / "model"
CIFAR_STAGES = [[16, 1, 1], [24, 4, 1], [40, 4, 1], [80, 4, 2], [112, 4, 1], [192, 4, 2], [320, 1, 1]]
SMALL = {"stem": [8, 1], "stages": [[8, 2, 1], [12, 3, 2]], "head": 16, "se_ratio": 0.25}  # block 2 is vital
HELD = [["ir_k3_e1"], [], ["ir_k3_e3_se", "ir_k5_e2"], ["ir_k3_e3", "ir_k5_e1_se", "skip"], ["ir_k7_e2", "skip"]]


def model_config(name: str, num_classes: int = 1000, channels: int = 3, **changes: Any) -> dict[str, Any]:
    """`conf/model/<name>.yaml` for data of so many classes and channels, with other arguments."""
    data = OmegaConf.create({"data": {"num_classes": num_classes, "channels": channels}})
    loaded = OmegaConf.merge(data, {"model": OmegaConf.load(CONF / f"{name}.yaml")})
    return {**OmegaConf.to_container(loaded, resolve=True)["model"], **changes}


def counted(config: dict[str, Any], input_shape: tuple[int, int, int] = (3, 224, 224)) -> tuple[int, int]:
    """MACs, by torch's own counter, and parameters; nothing is computed."""
    with torch.device("meta"):
        network = network_from(config).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *input_shape))
    return counter.get_total_flops() // 2, sum(parameter.numel() for parameter in network.parameters())


def small_supernet(held: list[list[str]] = HELD, seed: int = 0) -> OperationSupernet:
    """For images of 3 x 12 x 12; its batch norms are not as fresh ones are."""
    torch.manual_seed(seed)
    network = OperationSupernet(choices=held, **SMALL)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_()
    return network


def images_of(count: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
