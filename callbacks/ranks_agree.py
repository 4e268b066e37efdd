"""Stops a run under DDP when its ranks no longer hold the same architecture and weights.

When to use: always; with one process it does nothing. Cost: a hash of all weights an epoch (100 MB take 0.1 s).
"""

import pytorch_lightning as pl
from torch import nn

from src.errors import UserError
from src.runtime.ranks.agreement import fingerprint, gathered


class RanksAgree(pl.Callback):
    """Compares a hash of the architecture and of every bit of the weights over all ranks, at the end of each epoch.

    Architecture parameters, where a module has any, count as weights: its `structure_state()`, tensors by name.

    Under DDP ranks stay equal as long as each does the same; a decision that one rank takes alone, or a parameter that
    is thawed while DDP does not know of it, drives them apart without an error, and the result is that of no training.
    """

    def __repr__(self) -> str:
        return "RanksAgree()"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raises `UserError` on every rank where one of them has come apart from rank 0."""
        if trainer.world_size == 1:
            return
        config = getattr(pl_module, "config", None)
        structure = pl_module.structure_state() if hasattr(pl_module, "structure_state") else {}
        found = gathered((fingerprint(config, nn.Identity()), fingerprint(None, pl_module.network, structure)))
        for what, hashes in zip(("architecture", "weights"), zip(*found, strict=True), strict=True):
            apart = [rank for rank, value in enumerate(hashes) if value != hashes[0]]
            if apart:
                raise UserError(
                    f"after epoch {trainer.current_epoch + 1} the {what} of rank {', '.join(map(str, apart))} "
                    f"{'are not those' if what == 'weights' else 'is not that'} of rank 0: a callback or the network "
                    "has decided something on one rank alone; the last checkpoint is from before"
                )
