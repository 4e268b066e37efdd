"""Vital blocks of real networks: lesions of trained ones on CIFAR-10 test images, the zero test, and speed.

    python -m tests.benchmarks.lesions                    ResNet-20, 32, 56 (option A), and two with projections
    python -m tests.benchmarks.lesions images=500 seeds=3            fewer images, three draws of masks
    python -m tests.benchmarks.lesions networks=akamaster_resnet20 blocks=1    a line for each block
    python -m tests.benchmarks.lesions zeros                         graph and zero test on all starred networks
    python -m tests.benchmarks.lesions times                         milliseconds of trace and of vital blocks

Needs CIFAR-10 and the trained networks as `tests/real_data.py` finds them. With option A (subsampling and zero padding)
a ResNet has no vital block by its parametric ops, and its two down-sampling blocks are vital where only identities are
a way around: both are told. Accuracies in percent, medians over the blocks of a group and the draws of masks.
"""

import json
import pickle
import sys
import time
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from src.graph.tracing import trace
from src.graph.vital_blocks import vital_blocks, vital_blocks_of
from src.graph.zero_test import vital_by_zeros
from src.methods.lesion_study import lesion_study
from src.tasks.classification import Classification
from tests.graph.vital_lists import CASES, TIMM, TORCHVISION, blocks_of, built
from tests.real_data import PACKED, real_cifar10

RATES = (0.3, 0.6, 1.0)
NETWORKS = (
    *("akamaster_resnet20", "akamaster_resnet32", "akamaster_resnet56"),
    *("distiller_channel_regularized_resnet20_finetuned", "torchpruning_resnet56_groupsl"),
)
SHAPE = (3, 32, 32)


class StoredBlock(nn.Module):
    """A basic block with stored weights; its shortcut is an identity, option A or a projection, as stored."""

    def __init__(self, arrays: dict[str, np.ndarray], path: str, stride: int, eps: float) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(arrays, f"{path}.conv1", stride), norm(arrays, f"{path}.bn1", eps)
        self.conv2, self.bn2 = conv(arrays, f"{path}.conv2"), norm(arrays, f"{path}.bn2", eps)
        self.downsample = self.stride = None
        if f"{path}.downsample.0.weight" in arrays:
            projection = conv(arrays, f"{path}.downsample.0", stride)
            self.downsample = nn.Sequential(projection, norm(arrays, f"{path}.downsample.1", eps))
        elif stride > 1:
            self.stride, more = stride, self.conv2.out_channels - self.conv1.in_channels
            self.padding = (0, 0, 0, 0, more // 2, more - more // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride is not None:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], self.padding)
        return (y + x).relu()


class StoredResNet(nn.Module):
    """A stored network, of those with torch's padding: images (B, 3, 32, 32) from 0 to 1 -> (B, 10)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        path = PACKED / "cifar10_networks" / f"{name}.npz"
        if not path.is_file():
            raise SystemExit(f"the trained network {name} is absent: {path}")
        with np.load(path) as stored:
            arrays = {key: stored[key] for key in stored.files}
        meta = json.loads(str(arrays.pop("meta")))
        if meta["pad"] != "torch" or meta["shortcut"] == "end":
            raise SystemExit(f"{name} is stored in a layout that is not read here")
        for part, values in zip(("mean", "deviation"), meta["norm"], strict=True):
            self.register_buffer(part, torch.tensor(values).view(1, 3, 1, 1))
        self.conv1, self.bn1 = conv(arrays, "conv1"), norm(arrays, "bn1", meta["eps"])
        self.layers = nn.ModuleDict()
        for stage in (1, 2, 3):
            layer = nn.Sequential()
            while f"layer{stage}.{len(layer)}.conv1.weight" in arrays:
                stride = 2 if stage > 1 and not len(layer) else 1
                layer.append(StoredBlock(arrays, f"layer{stage}.{len(layer)}", stride, meta["eps"]))
            self.layers[f"layer{stage}"] = layer
        self.fc = nn.Linear(arrays["fc.weight"].shape[1], 10)
        fill(self.fc, arrays, "fc")
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1((x - self.mean) / self.deviation)).relu()
        for layer in self.layers.values():
            x = layer(x)
        return self.fc(x.mean((2, 3)))


def conv(arrays: dict[str, np.ndarray], path: str, stride: int = 1) -> nn.Conv2d:
    out, into, size, _ = arrays[f"{path}.weight"].shape
    made = nn.Conv2d(into, out, size, stride, size // 2, bias=f"{path}.bias" in arrays)
    return fill(made, arrays, path)


def norm(arrays: dict[str, np.ndarray], path: str, eps: float) -> nn.Module:
    return fill(nn.BatchNorm2d(len(arrays[f"{path}.weight"]), eps=eps), arrays, path)


def fill(module: nn.Module, arrays: dict[str, np.ndarray], path: str) -> nn.Module:
    for name, tensor in module.state_dict().items():
        if name != "num_batches_tracked":
            tensor.copy_(torch.from_numpy(arrays[f"{path}.{name}"].astype(np.float32)))
    return module


def test_images(count: int) -> tuple[Tensor, Tensor]:
    """The first images of CIFAR-10's test part, (N, 3, 32, 32) from 0 to 1, and their labels."""
    with open(real_cifar10() / "cifar-10-batches-py" / "test_batch", "rb") as file:
        batch = pickle.load(file, encoding="bytes")
    images = torch.from_numpy(batch[b"data"][:count]).view(-1, 3, 32, 32).float() / 255
    return images, torch.tensor(batch[b"labels"][:count])


def study(names: list[str], count: int, seeds: int, each: bool) -> None:
    images, labels = test_images(count)
    batches = list(zip(images.split(250), labels.split(250), strict=True))
    head = "".join(f"  p={rate:<5g}" for rate in RATES)
    print(f"{'network':49} {'vital by':18} {'blocks':>17} {'clean':>6}{head}   seconds")
    for name in names:
        network = StoredResNet(name)
        begun = time.monotonic()
        found = {only: vital_blocks(network, SHAPE, parameter_free_shortcuts=not only) for only in (False, True)}
        drawn = [lesion_study(network, found[False], RATES, Classification(10), batches, seed) for seed in range(seeds)]
        seconds = time.monotonic() - begun
        for only, criterion in ((False, "parametric ops"), (True, "identities only")):
            vital = set(found[only].vital)
            for kind in (True, False):
                own = [block for block in found[only].blocks if (block in vital) == kind]
                cells = [[d.accuracy[block, rate] for block in own for d in drawn] for rate in RATES]
                text = "".join(f"{median(values):9.2f}" if values else f"{'-':>9}" for values in cells)
                group = f"{len(own)} {'vital' if kind else 'non-vital'}"
                print(f"{name:49} {criterion:18} {group:>17} {drawn[0].clean:6.2f}{text} {seconds:9.0f}", flush=True)
        for block in found[True].blocks if each else found[True].vital:
            values = [sum(d.accuracy[block, rate] for d in drawn) / seeds for rate in RATES]
            shown = "".join(f"{value:9.2f}" for value in values)
            vital = [only for only in (False, True) if block in found[only].vital]
            word = {0: "", 1: "identities only", 2: "both"}[len(vital)]
            print(f"  {block:47} {word:18} {'':>17} {'':6}{shown}", flush=True)


def zeros() -> None:
    """The graph against the zero test, for every network of the lists."""
    for family, name, classes, *_ in CASES:
        model, side = built(family, name, "cpu"), 224 if name == "vit_b_16" else 64
        found = vital_blocks(model, (3, side, side), blocks_of(model, classes))
        begun = time.monotonic()
        agree = vital_by_zeros(model, (3, side, side), found.blocks) == found.vital
        print(f"{name:22} {len(found.vital):2} of {len(found.blocks):2} vital, zero test", end=" ")
        print(f"{'agrees' if agree else 'DIFFERS'} ({time.monotonic() - begun:.1f} s)", flush=True)


def times(repeats: int = 5) -> None:
    print(f"{'network':24} {'trace':>8} {'named':>8} {'discovered':>11}  ms, the fastest of {repeats}")
    cases = [("torchvision", name, case[0]) for name, case in TORCHVISION.items()]
    for family, name, classes in [*cases, *(("timm", name, case[0]) for name, case in TIMM.items())]:
        model = built(family, name)
        blocks, traced = blocks_of(model, classes), trace(model, (3, 224, 224))
        runs = [lambda m=model: trace(m, (3, 224, 224))]
        runs += [lambda m=model, t=traced, b=b: vital_blocks_of(m, t, b) for b in (blocks, None)]
        print(f"{name:24} {''.join(f'{fastest(run, repeats):9.1f}' for run in runs)}", flush=True)


def fastest(run, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return 1e3 * min(seconds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = [argument for argument in sys.argv[1:] if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if words:
        {"zeros": zeros, "times": times}[words[0]]()
    else:
        chosen = options.get("networks", ",".join(NETWORKS)).split(",")
        try:
            study(chosen, int(options.get("images", 1000)), int(options.get("seeds", 1)), "blocks" in options)
        except pytest.skip.Exception as absent:
            raise SystemExit(str(absent)) from None
