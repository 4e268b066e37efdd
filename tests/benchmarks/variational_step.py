"""What a variational training step costs beside a deterministic one of the same network.

python -m tests.benchmarks.variational_step
python -m tests.benchmarks.variational_step --batch 96 --steps 40 resnet20
python -m tests.benchmarks.variational_step --device cuda --channels-last

A step is forward, cross-entropy, backward and SGD with momentum; in the variational one the gradient of the KL is added
and Adam moves log sigma^2, as the callback VariationalTraining does. Both are timed in turns, so that other work on the
machine slows both; told are medians, and the median of the ratios.
`cell H` is a stack like a DARTS cell: 16 channels, at H x H, of ReLU, depthwise and 1x1
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
from src.variational.training import kl_gradients

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
    rates = [layer.log_sigma2 for layer in layers]
    own = {id(rate) for rate in rates}
    optimizer = torch.optim.SGD([p for p in model.parameters() if id(p) not in own], lr=1e-3, momentum=0.9)
    adam = torch.optim.Adam(rates, lr=1e-3, foreach=True) if layers else None

    def add_kl() -> None:
        thetas = [layer.weight for layer in layers]
        flat = [torch.cat([t.detach().reshape(-1) for t in own]) for own in (thetas, rates, [x.kept for x in layers])]
        for parameters, gradient in zip((thetas, rates), kl_gradients(*flat), strict=True):
            parts = gradient.split([p.numel() for p in parameters])
            parts = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
            torch._foreach_add_([p.grad for p in parameters], parts, alpha=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        if adam is not None:
            add_kl()
            adam.step()
            adam.zero_grad()
        optimizer.step()

    return step


def timed(step: Callable[[], None], device: str) -> float:
    """Milliseconds; on the CPU those of this process alone."""
    if device == "cpu":
        began = time.process_time()
        step()
        return 1e3 * (time.process_time() - began)
    torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("networks", nargs="*", default=[], help=", ".join(NETWORKS))
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--steps", type=int, default=20)
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
