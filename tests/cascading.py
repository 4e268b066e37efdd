"""What the tests of cascade searches share: tiny networks with weights, stored outputs, and a search of a second."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional

from callbacks.cascade_search import CascadeSearch
from callbacks.member_outputs import MemberOutputs
from src.data.no_images import NoImages
from src.methods.encas import ENCAS
from src.runtime.build import network_from
from src.runtime.checkpoints import save_whole
from src.runtime.seeds import seeded
from src.runtime.trainer import make_trainer
from src.tasks.classification import Classification
from tests.cascades.pools import small
from tests.searching import BASE, digits, settings


def tiny(channels: int) -> dict:
    return {**BASE, "channels": [channels, channels + 4]}


@cache
def networks(count: int = 3) -> list[dict]:
    """Entries of `method.members`: networks on digits from small to larger, each trained for a few steps."""
    folder, data = Path(mkdtemp(prefix="members-")), digits()
    entries = []
    for number in range(count):
        config, path = tiny(4 + 4 * number), folder / f"net{number}.pt"
        with seeded(number, "member"):
            network = network_from(config)
            optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
            for _ in range(1 + number):
                for images, labels in data.train_dataloader():
                    optimizer.zero_grad()
                    functional.cross_entropy(network(images), labels).backward()
                    optimizer.step()
        save_whole(network.state_dict(), path)
        entries.append({"name": f"net{number}", "model": config, "weights": str(path)})
    return entries


def made(members: int = 4, samples: int = 400) -> tuple[np.ndarray, ...]:
    """A made-up pool of 5 classes, as it is stored: softmax (M, N, C) float16, labels (N,), MACs (M,)."""
    softmax, labels, macs = small(members, samples, 5)
    softmax = softmax.astype(np.float32)
    return (softmax / softmax.sum(-1, keepdims=True)).astype(np.float16), labels, macs


def stored(folder: Path, members: int = 4, samples: int = 400, split: int = 200) -> list[str]:
    """A made-up pool as files in `validation/` and `test/`; the entry of `method.members`."""
    softmax, labels, macs = made(members, samples)
    for part, rows in (("validation", slice(split)), ("test", slice(split, None))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for number in range(members):
            values = {"labels": labels[rows], "softmax": softmax[number][rows], "macs": macs[number], "params": 10}
            np.savez(folder / part / f"m{number}.npz", **values)
    return [str(folder)]


def encas(members: Sequence, folder: Path, input_shape=(1, 8, 8), classes: int = 10, **options) -> ENCAS:
    own = {**settings(), "task": Classification(classes)}
    return ENCAS(BASE, input_shape, members=members, folder=str(folder), **{"slots": 3, **own, **options})


def of_stored(folder: Path, **options) -> ENCAS:
    """A search of stored outputs alone, in a run folder beside them."""
    return encas(stored(folder / "pool_given"), folder / "run", (1, 1, 1), 5, **options)


def run(
    module: ENCAS,
    *more: pl.Callback,
    data: pl.LightningDataModule | None = None,
    checkpoint: str | None = None,
    **searching,
) -> pl.Trainer:
    """A search on the CPU; returns its trainer."""
    searching = {"searcher": "random", "evaluations": 500, **searching}
    callbacks = [MemberOutputs(), CascadeSearch(**searching), *more]
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks)
    module.search(trainer, data or NoImages(5), checkpoint)
    return trainer
