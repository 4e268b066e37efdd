"""What a step of the super-net of cells costs: how it falls as operations die, and what kinds of gates add.

python -m tests.benchmarks.dropped_operations --channels 8 --layers 3 --batch 64 --size 8

Times are the median of steps (forward, backward, no optimizer) taken in turns, so that another load on the machine
weighs on all alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from src.networks.cell_operations import NONE, OPERATIONS
from src.networks.cell_supernet import CellSupernet

SHARES = (1.0, 0.75, 0.5, 0.25)


def step(network: CellSupernet, images: Tensor, gates: Callable[[], tuple[Tensor, Tensor | None]]) -> float:
    """Seconds of one step."""
    device = images.device.type
    began = _now(device)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        output = network(images, *gates())
    output.float().logsumexp(1).mean().backward()
    took = _now(device) - began
    network.zero_grad(set_to_none=True)
    return took


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(tasks: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    for task in tasks.values():
        task()
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            taken[name].append(task())
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"channels": 8, "layers": 3, "nodes": 4, "batch": 64, "size": 8, "repeats": 15}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--in-channels", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    reductions = [1] if chosen.layers == 3 else None
    operations = [name for name in OPERATIONS if name != NONE]
    network = CellSupernet(
        operations, chosen.channels, chosen.layers, chosen.nodes, 10, chosen.in_channels, reductions
    ).to(chosen.device, memory_format=torch.channels_last)
    images = torch.randn(chosen.batch, chosen.in_channels, chosen.size, chosen.size, device=chosen.device)
    images = images.contiguous(memory_format=torch.channels_last)
    shape = network.gates_shape
    logits = torch.zeros(shape, device=chosen.device, requires_grad=True)
    spread = torch.full(shape, -3.0, device=chosen.device, requires_grad=True)

    def drawn(*batch: int) -> tuple[Tensor, None]:
        return logits + spread.exp() * torch.randn(*batch, *shape, device=chosen.device), None

    kinds = {
        "constant gates": lambda: (torch.full(shape, 1 / len(operations), device=chosen.device), None),
        "softmax": lambda: (logits.softmax(-1), None),
        "scalar noise": drawn,
        "per-example noise": lambda: drawn(chosen.batch),
        "noise on activations": lambda: (logits + 0.1, spread.exp().square()),
    }

    def at(share: float) -> Callable[[], float]:
        mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < share

        def one() -> float:
            network.set_live(mask)
            return step(network, images, kinds["softmax"])

        return one

    taken = in_turns({f"{share:.0%} live": at(share) for share in SHARES}, chosen.repeats)
    report(taken, "100% live")
    network.set_live(None)
    taken = in_turns(
        {name: lambda kind=kind: step(network, images, kind) for name, kind in kinds.items()}, chosen.repeats
    )
    report(taken, "softmax")


def report(taken: dict[str, list[float]], base: str) -> None:
    for name, own in taken.items():
        ratio = statistics.median(one / other for one, other in zip(own, taken[base], strict=True))
        print(f"{name:<22} {1e3 * statistics.median(own):9.2f} ms   {ratio:5.2f} x {base}")


if __name__ == "__main__":
    main()
