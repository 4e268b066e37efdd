"""Writes the architecture that a search has found as `architecture.yaml` into the run folder.

When to use: in every search. The file is written once, at the end of a search that has ended by itself: a run folder
with an `architecture.yaml` holds a result, one without does not.
"""

import os

import pytorch_lightning as pl

from src.errors import check_text
from src.runtime.architecture import save_architecture


class ArchitectureExport(pl.Callback):
    """Args: folder: the run folder."""

    def __init__(self, folder: str) -> None:
        self.folder = check_text("callbacks.architecture_export.folder", folder)

    def __repr__(self) -> str:
        return f"ArchitectureExport(folder={self.folder!r})"

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            save_architecture(os.path.join(self.folder, "architecture.yaml"), pl_module.architecture())
