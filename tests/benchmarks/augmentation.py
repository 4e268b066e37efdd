"""Training images a second from CIFAR-10 with random crop and flip: whole batches against per-image transforms.

python tests/benchmarks/augmentation.py [--root FOLDER] [--threads 1] [--rounds 3]

Both run in turn in this one process (the DataLoader without workers, so that both have the same cores); the best round
of each counts, and the ratio is what to compare across machines.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.data.torchvision_data import TorchvisionData

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def images_per_second(loader: Iterable, batches: int) -> float:
    """Over `batches` batches, the first one, which warms up, not counted."""
    iterator = iter(loader)
    next(iterator)
    images, start = 0, time.perf_counter()
    for _ in range(batches):
        images += len(next(iterator)[0])
    return images / (time.perf_counter() - start)


def per_image(root: Path) -> DataLoader:
    """The usual pipeline: PIL image, crop, flip, tensor, normalise; one image after the other."""
    steps = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return DataLoader(datasets.CIFAR10(root, transform=v2.Compose(steps)), batch_size=128, shuffle=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("ESPALIER_DATA", "data")))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = TorchvisionData(
        name="cifar10", dataset="CIFAR10", root=str(options.root), augment={"crop": 4, "flip": True}, mean=MEAN, std=STD
    )
    data.prepare_data()
    data.setup()
    loaders = {"whole batches": (data.train_dataloader(), 300), "per image": (per_image(options.root), 40)}
    best = dict.fromkeys(loaders, 0.0)
    for _ in range(options.rounds):
        for name, (loader, batches) in loaders.items():
            best[name] = max(best[name], images_per_second(loader, batches))
    for name, speed in best.items():
        print(f"{name:14s} {speed:10,.0f} images/s")
    print(f"ratio          {best['whole batches'] / best['per image']:10.1f}")


if __name__ == "__main__":
    main()
