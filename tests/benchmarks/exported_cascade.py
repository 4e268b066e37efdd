"""What an exported cascade costs for an image that leaves early and for one that does not, one image at a time.

python -m tests.benchmarks.exported_cascade
python -m tests.benchmarks.exported_cascade --members resnet20 resnet56 --size 32

The members are untrained, and the first threshold lies between the surest and the least sure of some images: so one
is an easy image, for which the first member is enough, and one a hard one, which goes through all. Times are of the
file as a user loads it, on one thread (ONNX Runtime chooses its own). Beside them: each member exported alone, the
same cascade with all members always run (the last of `src.networks.cascade_export.ROUTES`), and live. On a shared
machine the shortest time says more than the median.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from src.networks import cascade_export, resnet
from src.networks.cascade import Cascade
from src.runtime import export
from src.runtime.export_formats import WRITERS


def member(name: str, size: int) -> nn.Module:
    """An untrained network with batch statistics of random images and logits that lie apart."""
    network = getattr(resnet, name)()
    nn.init.normal_(network.fc.weight, std=1.0)
    network(torch.rand(32, 3, size, size))
    return network.eval()


@torch.no_grad()
def easy_and_hard(cascade: Cascade, images: Tensor) -> tuple[Tensor, Tensor]:
    """Two of `images`, after the thresholds have been put where the first leaves at once and the second never."""
    sure = cascade.probabilities(0, images).amax(1).float()
    easy, hard = int(sure.argmax()), int(sure.argmin())
    cascade.thresholds = [float((sure[easy] + sure[hard]) / 2)] + [1.0] * (len(cascade.members) - 2)
    return images[easy : easy + 1], images[hard : hard + 1]


def milliseconds(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Shortest time and median, over three rounds in which each of the runs is repeated.

    Not one run after the other: ONNX Runtime's threads go on waiting busily for a while.
    """
    times = {name: [] for name in runs}
    gc.collect()
    gc.freeze()  # what the exporters have left behind is not to be looked through in the midst of a run
    with torch.no_grad():
        for _ in range(3):
            for name, run in runs.items():
                for repeat in range(-3, repeats):
                    began = time.perf_counter()
                    run()
                    if repeat >= 0:
                        times[name].append(1000 * (time.perf_counter() - began))
    gc.unfreeze()
    return {name: (min(values), statistics.median(values)) for name, values in times.items()}


def program(network: nn.Module, folder: Path, size: int, form: str) -> Callable[[Tensor], Tensor]:
    path = export.export_network(network, folder, (3, size, size), (0.0,) * 3, (1.0,) * 3, [form])[form]
    return WRITERS[form][1](path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", nargs="+", default=["resnet20", "resnet32", "resnet56"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--formats", nargs="+", default=["pt2", "onnx"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    members = [member(name, options.size) for name in options.members]
    cascade = Cascade(members, [0.5] * (len(members) - 1), options.members).eval()
    easy, hard = easy_and_hard(cascade, torch.rand(64, 3, options.size, options.size))
    runs = {"live easy": lambda: cascade(easy), "live hard": lambda: cascade(hard)}
    with tempfile.TemporaryDirectory() as folder:
        for form in options.formats:
            run = program(cascade, Path(folder), options.size, form)
            singles = [program(one, Path(folder), options.size, form) for one in members]
            runs |= {f"{form} easy": lambda run=run: run(easy), f"{form} hard": lambda run=run: run(hard)}
            export.ROUTES = cascade_export.ROUTES[-1:]
            whole = program(cascade, Path(folder), options.size, form)
            export.ROUTES = cascade_export.ROUTES
            runs[f"{form} all members"] = lambda run=whole: run(easy)
            for name, single in zip(options.members, singles, strict=True):
                runs[f"{form} {name} alone"] = lambda run=single: run(easy)
        for name, (least, median) in milliseconds(runs, options.repeats).items():
            print(f"{name:<24} {least:7.2f} ms, median {median:7.2f} ms")


if __name__ == "__main__":
    main()
