"""Callbacks that write down what each rank holds at the end of a search, and that drive the ranks apart."""

import json
import os
from pathlib import Path

import pytorch_lightning as pl
import torch


class Witness(pl.Callback):
    """Writes `<folder>/rank<r>.json`: the rank's architecture, a hash of its weights and buffers, and its settings."""

    def __init__(self, folder: str, settings: dict | None = None) -> None:
        self.folder, self.settings = Path(folder), settings or {}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = {name: value.double().tolist() for name, value in pl_module.network.state_dict().items()}
        seen = {"architecture": pl_module.architecture(), "weights": weights, "ranks": trainer.world_size}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"rank{trainer.global_rank}.json"
        path.write_text(json.dumps(seen | {"settings": self.settings, "process": os.getpid()}, sort_keys=True))


class Beats(pl.Callback):
    """Writes down how far a search without candidates is, whenever it tells."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_search_progress(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.path.write_text(str(pl_module.progress()[0]))


class Drift(pl.Callback):
    """Lets rank 1 do what rank 0 does not."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == 1 and trainer.current_epoch == 1:
            with torch.no_grad():
                next(pl_module.network.parameters()).mul_(1.001)
