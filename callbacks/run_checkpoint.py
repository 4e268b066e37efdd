"""Saves the state of the fit, so that `resume=<run folder>` goes on from it.

When to use: always. Cost: one file with the weights and the optimizer's state an epoch, in place of the one before.
"""

import os

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from src.errors import check_text, check_whole
from src.runtime.checkpoints import part_name


class RunCheckpoint(Checkpoint):
    """Writes `<folder>/last.ckpt`; of a module whose metrics have a prefix, `<folder>/<prefix>.ckpt`.

    It is written after every epoch, and when the fit is told to stop (SIGTERM, Ctrl-C), which all ranks do at the same
    step. What fails writes nothing, so that the last good state stays. Lightning's ModelCheckpoint would, on a failure,
    save the weights that have diverged, or wait for a rank that is no more.

    Args:
        folder: for the checkpoints.
        every_n_steps: also after so many optimizer steps, for epochs that take long; None: after epochs only.
    """

    def __init__(self, folder: str, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None:
            check_whole("callbacks.run_checkpoint.every_n_steps", every_n_steps, 1)
        self.folder, self.every_n_steps = check_text("callbacks.run_checkpoint.folder", folder), every_n_steps
        self._saved_at = -1  # optimizer steps

    def __repr__(self) -> str:
        return f"RunCheckpoint({self.folder!r}, every_n_steps={self.every_n_steps})"

    def path(self, pl_module: pl.LightningModule) -> str:
        return os.path.join(self.folder, f"{part_name(getattr(pl_module, 'prefix', ''))}.ckpt")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        due = self.every_n_steps and trainer.global_step % self.every_n_steps == 0
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch  # saved after its validation
        if due and not last and trainer.global_step != self._saved_at:
            self.save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        told = isinstance(exception, SIGTERMException) and trainer.state.fn == "fit" and not trainer.sanity_checking
        if told and trainer.global_step != self._saved_at:
            self.save(trainer, pl_module)

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the state of now; call it on all ranks. A search that goes on without training says so by itself."""
        trainer.save_checkpoint(self.path(pl_module), weights_only=False)
        self._saved_at = trainer.global_step
