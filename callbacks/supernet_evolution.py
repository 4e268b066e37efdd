"""Evaluates an archive of sub-nets, proposes a better one, and so on (NAT, https://arxiv.org/abs/2005.05859).

When to use: with `method=nat` and `method=encas_joint`. Cost, in an iteration: a pass over the calibration batches and
one over the validation images for each sub-net of the archive, shared by all processes; a surrogate of 500 members
fitted to it, and 10,000 predictions: seconds.
"""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError, check_text
from src.methods.subnet_evolution import SubnetEvolution
from src.runtime.ranks.agreement import gathered
from src.runtime.ranks.alone import Stop, done_by_first
from src.runtime.ranks.sharding import sharded_map

_TOGETHER = 4  # rows a process evaluates until the ranks tell each other
_SAVE_EVERY = 60.0  # seconds


class SupernetEvolution(pl.Callback):
    """Runs at the end of each iteration, before the next one trains.

    Its state lies in the module: the archive, its candidates, the measures of all iterations. A resumed search goes on
    within an archive.

    Args:
        folder: the run folder, where the weights of super-nets and front are kept.
    """

    def __init__(self, folder: str) -> None:
        self.folder = check_text("method.callbacks.supernet_evolution.folder", folder)

    def __repr__(self) -> str:
        return f"SupernetEvolution(folder={self.folder!r})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, SubnetEvolution):
            raise UserError(f"SupernetEvolution needs method=nat or method=encas_joint, not {type(pl_module).__name__}")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> None:
        if pl_module.ended:
            return
        self._saved = time.monotonic()
        while pl_module.evaluation_due():
            self._evaluate(trainer, pl_module)
            if pl_module.final or pl_module.note_iteration(trainer):
                pl_module.keep(self.folder)
                pl_module.end_search()
                return
            if pl_module.final:
                continue
            pl_module.take_archive(
                done_by_first(
                    trainer, lambda stop: self._proposed(pl_module, stop), lambda: self._told(trainer, pl_module)
                )
            )

    def _proposed(self, pl_module: SubnetEvolution, stop: Stop) -> Any:
        return pl_module.proposed(stop.check)

    def _told(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> bool:
        """On rank 0: brings the progress bar up to date; there is nothing to save."""
        for callback in trainer.callbacks:
            if hasattr(callback, "on_search_progress"):
                callback.on_search_progress(trainer, pl_module)
        return False

    def _evaluate(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> None:
        """Records a candidate for each row of the archive that has none yet."""
        todo, costs = pl_module.begin_evaluation(trainer.datamodule.whole_validation())
        together = _TOGETHER * trainer.world_size
        for start in range(0, len(todo), together):
            part = slice(start, start + together)
            found = sharded_map(pl_module.evaluated, todo[part], costs[part])
            for item, result in zip(todo[part], found, strict=True):
                pl_module.take(trainer, item, result)
            self._maybe_save(trainer, pl_module)
        pl_module.end_evaluation(trainer)

    def _maybe_save(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> None:
        trainer._signal_connector.agree()
        due = any(gathered(time.monotonic() - self._saved > _SAVE_EVERY))  # clocks differ
        if trainer.received_sigterm or due:
            for callback in trainer.callbacks:
                if isinstance(callback, RunCheckpoint):
                    callback.save(trainer, pl_module)
            self._saved = time.monotonic()
        if trainer.received_sigterm:
            raise SIGTERMException
