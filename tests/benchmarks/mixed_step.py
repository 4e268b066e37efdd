"""What a training step of the super-net of operations costs, soft and one-path, beside one of a plain network.

python -m tests.benchmarks.mixed_step
python -m tests.benchmarks.mixed_step --stage 2 --batch 64 mobile_cifar
python -m tests.benchmarks.mixed_step --device cuda hournas_f

A step of weights is forward, backward and SGD with momentum and weight decay; of the architecture it is forward and
backward to the logits, and Adam on them. Each drawn choice is also timed as a plain network of its operations. All are
timed in turns, so that other work on the machine slows all of them; told are medians, and the medians of ratios. Stage
1 has the vital blocks alone, stage 2 all blocks with the vital ones fixed, "all" every operation in every block.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from src.networks.frozen_statistics import frozen_statistics
from src.networks.gumbel import gates, gumbel_noise
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.operation_space import OperationSpace
from tests.networks.mobile import model_config

SHAPES = {"mobile_digits": (1, 8, 8), "mobile_cifar": (3, 32, 32), "hournas_f": (3, 224, 224)}


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)


class Bench:
    """Steps of one super-net and of plain networks of its operations."""

    def __init__(self, name: str, stage: str, batch: int, device: str, channels_last: bool) -> None:
        shape = SHAPES[name]
        self.space = OperationSpace(model_config(name, 10, shape[0]), shape)
        choices = [self.space.allowed(block) for block in range(len(self.space.vital))]
        if stage == "1":
            choices = [own if vital else [] for own, vital in zip(choices, self.space.vital, strict=True)]
        if stage == "2":
            choices = [own[4:5] if vital else own for own, vital in zip(choices, self.space.vital, strict=True)]
        self.device, self.choices = device, choices
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network_from(self.space.supernet_config(choices)).to(device, memory_format=self.format)
        most = len(self.space.operations)
        absent = torch.tensor([[place >= len(own) for place in range(most)] for own in choices])
        self.absent = absent.to(device)
        self.logits = torch.zeros(len(choices), most, device=device, requires_grad=True)
        self.weights, self.architecture = sgd(self.network.parameters()), torch.optim.Adam([self.logits], lr=0.01)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch, *shape, generator=generator).to(device, memory_format=self.format)
        self.targets = torch.randint(10, (batch,), generator=generator).to(device)

    def drawn(self, hard: bool) -> torch.Tensor:
        noise = gumbel_noise(tuple(self.logits.shape), self.generator)
        return gates(self.logits.masked_fill(self.absent, -torch.inf), noise, 1.0, hard)

    def step(self, one_path: bool, architecture: bool) -> None:
        drawn = self.drawn(hard=one_path)
        chosen = drawn.argmax(-1).tolist() if one_path else None
        optimizer = self.architecture if architecture else self.weights
        optimizer.zero_grad()
        if architecture:
            with frozen_statistics(self.network):
                loss = F.cross_entropy(self.network(self.images, drawn, chosen), self.targets)
            (self.logits.grad,) = torch.autograd.grad(loss, [self.logits])
        else:
            given = None if one_path else drawn.detach()
            F.cross_entropy(self.network(self.images, given, chosen), self.targets).backward()
        optimizer.step()

    def plain(self) -> Callable[[], None]:
        """The step of a plain network of the operations that the next draw chooses."""
        chosen = self.drawn(hard=True).argmax(-1).tolist()
        network = self.network.extracted(chosen).train()
        optimizer = sgd(network.parameters())

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(network(self.images), self.targets).backward()
            optimizer.step()

        step()
        return step

    def timed(self, step: Callable[[], None], seed: int) -> float:
        """Milliseconds; what the step draws depends on `seed` alone."""
        self.generator = keyed_generator(0, "draw", seed)
        if self.device != "cpu":
            torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - began)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="*", default=[], help=", ".join(SHAPES))
    options.add_argument("--stage", default="all", choices=["1", "2", "all"])
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--draws", type=int, default=15)
    options.add_argument("--device", default="cpu")
    options.add_argument("--channels-last", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for name in chosen.models or ["mobile_digits", "mobile_cifar"]:
        bench = Bench(name, chosen.stage, chosen.batch, chosen.device, chosen.channels_last)
        kinds = {
            "one-path, weights": lambda bench=bench: bench.step(True, False),
            "one-path, architecture": lambda bench=bench: bench.step(True, True),
            "soft, weights": lambda bench=bench: bench.step(False, False),
            "soft, architecture": lambda bench=bench: bench.step(False, True),
        }
        taken: dict[str, list[float]] = {kind: [] for kind in ("plain", *kinds)}
        for draw in range(chosen.draws + 1):
            bench.generator = keyed_generator(0, "draw", draw)
            steps = {"plain": bench.plain(), **kinds}
            for kind, step in steps.items():
                taken[kind].append(bench.timed(step, draw))
        taken = {kind: own[1:] for kind, own in taken.items()}  # the first warms up
        held = max(map(len, bench.choices))
        print(f"{name}, stage {chosen.stage}, up to {held} operations a block, batch {chosen.batch}, {chosen.device}")
        for kind, own in taken.items():
            ratio = statistics.median(one / plain for one, plain in zip(own, taken["plain"], strict=True))
            print(f"  {kind:<24}{statistics.median(own):9.1f} ms a step   {ratio:6.2f} x plain", flush=True)


if __name__ == "__main__":
    main()
