"""What a training step of the super-net costs beside one of the extracted plain network of the same widths.

python -m tests.benchmarks.supernet_step
python -m tests.benchmarks.supernet_step --widths 5 --batch 64 resnet20
python -m tests.benchmarks.supernet_step --device cuda

A step is forward, backward and SGD with momentum and weight decay; that of the super-net is CafeNet's own, with the
draw of the index sets, as in a fit. For each of the random widths the steps are timed in turns, so that other work on
the machine slows all of them; a ratio is one of medians. Also told is what of a K = 1 step is not the network's: the
draw, making paths ready, selecting parts (there and back), statistics, and the optimizer on the whole weights.
"""

import argparse
import statistics
import time
from functools import partial
from types import SimpleNamespace

import torch

from src.elastic.sharing import LocallyFreeSharing
from src.methods.cafenet import CafeNet
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from src.tasks.classification import Classification

MODELS = {
    "resnet20": {"_target_": "src.networks.resnet.resnet20"},
    "mobilenet_v2": {"_target_": "torchvision.models.mobilenet_v2", "num_classes": 10},
}
SHAPE = (3, 32, 32)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)


class Bench:
    """Steps of one super-net and of networks of its own."""

    def __init__(self, base: dict, batch: int, device: str) -> None:
        space = partial(BinSpace, bin_rule="share", share=0.005)
        self.module = CafeNet(base, SHAPE, space=space, task=Classification(10), optimizer=sgd)
        strategy = SimpleNamespace(reduce=lambda loss, reduce_op: loss)
        trainer = SimpleNamespace(strategy=strategy, current_epoch=0, global_rank=0, barebones=True, world_size=1)
        self.module._trainer = trainer  # as far as a step asks for one
        self.module.to(device).train()
        self.device, self.network, space = device, self.module.network, self.module.space
        self.optimizer = sgd(self.network.parameters())
        self.sharing = LocallyFreeSharing(space.edges, space.multiples, 1)
        generator = torch.Generator().manual_seed(0)
        self.batch = (
            torch.randn(batch, *SHAPE, generator=generator).to(device),
            torch.randint(10, (batch,), generator=generator).to(device),
        )

    def row(self, number: int) -> list[int]:
        return self.module.space.grid.uniform(1, keyed_generator(0, "width", number))[0].tolist()

    def draw(self, row: list[int], count: int) -> None:
        self.module.paths = self.sharing.draw(row, count, keyed_generator(0, "step", *row))

    def step(self, row: list[int], count: int) -> None:
        self.draw(row, count)
        self.optimizer.zero_grad()
        self.module._trained_loss(*self.batch, 0).backward()
        self.optimizer.step()

    def plain(self, row: list[int]):
        """The step of the extracted network of the same widths."""
        self.draw(row, 1)
        network = self.network.extracted(self.network.path(self.module.paths[0])).to(self.device).train()
        optimizer, task = sgd(network.parameters()), self.module.task

        def step() -> None:
            images, targets = self.batch
            optimizer.zero_grad()
            task.loss(network(images), targets).backward()
            optimizer.step()

        return step

    def timed(self, step, *arguments) -> float:
        """Milliseconds."""
        began = time.perf_counter()
        step(*arguments)
        if self.device != "cpu":
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - began)

    def compared(self, row: list[int], repeats: int) -> tuple[float, float, float]:
        """Median milliseconds of (plain, K = 1, K = 2), in turns that each begin with another, after one round more."""
        plain = self.plain(row)
        steps = (plain,), (self.step, row, 1), (self.step, row, 2)
        taken = [[], [], []]
        for turn in range(1 + repeats):
            for place in (turn, turn + 1, turn + 2):
                taken[place % 3].append(self.timed(*steps[place % 3]))
        return tuple(statistics.median(own[1:]) for own in taken)

    def parts(self, row: list[int], repeats: int) -> dict[str, float]:
        """Median milliseconds of what a step does beside the network's own work."""
        self.draw(row, 1)
        network, path = self.network, self.network.path(self.module.paths[0])
        own = list(network.parameters())
        for parameter in own:
            parameter.grad = torch.zeros_like(parameter)
        alone = network.extracted(path).to(self.device)
        small = sgd(alone.parameters())
        for parameter in alone.parameters():
            parameter.grad = torch.zeros_like(parameter)

        def select() -> None:
            with network._in_place(path, None):
                tensors = [t.whole for t in (*network._paths.weights, *network._paths.vectors)]
            chosen = [tensor for tensor in tensors if tensor.grad_fn is not None]
            if chosen:
                torch.autograd.grad(chosen, own, [torch.ones_like(t) for t in chosen], allow_unused=True)

        todo = {
            "draw": lambda: self.draw(row, 1),
            "path": lambda: network.path(self.module.paths[0]),
            "selecting": select,
            "statistics": lambda: network.selected_statistics(path).write_back(network.norms),
            "optimizer": self.optimizer.step,
            "optimizer, extracted": small.step,
        }
        return {name: statistics.median(self.timed(do) for _ in range(1 + repeats)) for name, do in todo.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="*", default=[], help=", ".join(MODELS))
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--widths", type=int, default=20)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for name in chosen.models or MODELS:
        bench = Bench(MODELS[name], chosen.batch, chosen.device)
        rows = [bench.row(number) for number in range(chosen.widths)]
        taken = torch.tensor([bench.compared(row, chosen.repeats) for row in rows], dtype=torch.float64)
        first, second = taken[:, 1] / taken[:, 0], taken[:, 2] / taken[:, 1]
        print(f"{name}, batch {chosen.batch}, {chosen.widths} widths, {chosen.device}")
        print(f"  extracted   {taken[:, 0].mean():8.1f} ms a step")
        for label, ratios in (("K=1 / extracted", first), ("K=2 / K=1", second)):
            print(f"  {label:<16} mean {ratios.mean():.3f}  median {ratios.median():.3f}  most {ratios.max():.3f}")
        parts = [bench.parts(row, chosen.repeats) for row in rows[:5]]
        told = {part: statistics.fmean(own[part] for own in parts) for part in parts[0]}
        print("  of a K=1 step: " + ", ".join(f"{part} {value:.2f} ms" for part, value in told.items()), flush=True)


if __name__ == "__main__":
    main()
