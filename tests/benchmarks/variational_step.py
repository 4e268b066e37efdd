"""What a variational training step costs beside a deterministic one of the same network.

python -m tests.benchmarks.variational_step
python -m tests.benchmarks.variational_step --batch 96 --steps 40 resnet20
python -m tests.benchmarks.variational_step --device cuda --channels-last

A step is forward, cross-entropy (with the KL of all weights in the variational one), backward and SGD with momentum (on
log_sigma2 as well). Both are timed in turns, so that other work on the machine slows both; told are medians, and the
median of the ratios. `cell H` is a stack like a DARTS cell: 16 channels, at H x H, of ReLU, depthwise and 1x1
convolutions and batch norm, with dilated ones among them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from src.networks.lenet import LeNet300100
from src.networks.resnet import resnet20
from src.variational.conversion import variational, variational_layers
from src.variational.kl import ard_kl

CHANNELS = 16


def separable(kernel: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, kernel, padding=padding, dilation=dilation, groups=CHANNELS, bias=False),
        nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False),
        nn.BatchNorm2d(CHANNELS, affine=False),
    ]


def cell() -> nn.Module:
    """sep_conv_3x3, sep_conv_5x5, dil_conv_3x3, dil_conv_5x5 and a max-pool, one after the other."""
    pool = [nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(CHANNELS, affine=False)]
    layers = [*separable(3), *separable(3), *separable(5), *separable(5), *separable(3, 2), *separable(5, 2), *pool]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "cell 8": (cell, (CHANNELS, 8, 8)),
    "cell 16": (cell, (CHANNELS, 16, 16)),
    "cell 32": (cell, (CHANNELS, 32, 32)),
    "resnet20": (resnet20, (3, 32, 32)),
    "lenet_300_100": (LeNet300100, (1, 28, 28)),
}


def step_of(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> Callable[[], None]:
    model.train()
    layers = list(variational_layers(model).values())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), targets)
        if layers:
            loss = loss + 1e-6 * torch.stack([ard_kl(layer.log_alpha()).sum() for layer in layers]).sum()
        loss.backward()
        optimizer.step()

    return step


def timed(step: Callable[[], None], device: str) -> float:
    """Milliseconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("networks", nargs="*", default=[], help=", ".join(NETWORKS))
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--steps", type=int, default=15)
    options.add_argument("--device", default="cpu")
    options.add_argument("--channels-last", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in chosen.networks or NETWORKS:
        build, shape = NETWORKS[name]
        form = torch.channels_last if chosen.channels_last else torch.contiguous_format
        images = torch.randn(chosen.batch, *shape).to(chosen.device, memory_format=form)
        targets = torch.randint(10, (chosen.batch,)).to(chosen.device)
        model = build()
        both = [model, variational(model)]
        steps = [step_of(own.to(chosen.device, memory_format=form), images, targets) for own in both]
        taken = [[timed(step, chosen.device) for step in steps] for _ in range(chosen.steps + 3)][3:]  # 3 warm up
        plain, ours = (statistics.median(own) for own in zip(*taken, strict=True))
        ratio = statistics.median(one / other for other, one in taken)
        print(
            f"{name:<16} batch {chosen.batch}: deterministic {plain:8.2f} ms, variational {ours:8.2f} ms, {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
