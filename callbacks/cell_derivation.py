"""Derives a genotype after each epoch of a search over cells, and records it as a candidate.

When to use: with `method=vinnas` and `method=darts`. Cost: none; its error is that of the epoch's validation.
"""

import math

import pytorch_lightning as pl
import torch

from src.errors import UserError
from src.methods.cell_search import CellSearch


class CellDerivation(pl.Callback):
    """Has no state of its own. It comes after what drops operations."""

    def __repr__(self) -> str:
        return "CellDerivation()"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, CellSearch):
            raise UserError(f"CellDerivation needs method=vinnas or method=darts, not {type(pl_module).__name__}")

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: CellSearch) -> None:
        error, loss = (float(trainer.callback_metrics.get(f"val/{name}", math.nan)) for name in ("error", "loss"))
        candidate = pl_module.candidate(error if math.isfinite(loss) else math.nan)
        for name, value in candidate.extra.items():
            pl_module.log(f"cells/{name}", value, sync_dist=trainer.world_size > 1)
        pl_module.record(trainer, candidate)
