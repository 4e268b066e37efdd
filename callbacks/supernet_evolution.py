"""Evaluates an archive of sub-nets, proposes a better one, and so on (NAT, https://arxiv.org/abs/2005.05859).

When to use: with `method=nat` and `method=encas_joint`. Cost, in an iteration: a pass over the calibration batches and
one over the validation images for each sub-net of the archive, shared by all processes; a surrogate of 500 members
fitted to it, and 10,000 predictions: seconds.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError, check_text
from src.methods.subnet_evolution import SubnetEvolution
from src.runtime.ranks.agreement import gathered
from src.runtime.ranks.alone import done_by_first
from src.runtime.ranks.sharding import sharded_map

_TOGETHER = 4  # rows a process evaluates until the ranks tell each other
_SAVE_EVERY = 60.0  # seconds


class SupernetEvolution(pl.Callback):
    """Runs at the end of each iteration, before the next one trains.

    Its state lies in the module: the archive, its candidates, the measures of all iterations. A resumed search of
    method=nat goes on within an archive; method=encas_joint, whose cascades need all outputs at once, begins it again.

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
            pl_module.note_iteration(trainer)
            if pl_module.next_wanted():
                self._propose(trainer, pl_module)
            elif not pl_module.take_last_archive():
                pl_module.finish(trainer)
                pl_module.keep(self.folder)
                pl_module.end_search()
                return

    def _propose(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> None:
        found = done_by_first(
            trainer,
            lambda stop: pl_module.proposed(stop.check),
            lambda: self._told(trainer, pl_module),
            lambda: self._save(trainer, pl_module),
        )
        pl_module.take_archive(found)

    def _told(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> bool:
        """On rank 0: brings the progress bar up to date. It is never time to save: a proposal takes seconds."""
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
            self._save(trainer, pl_module)
        if trainer.received_sigterm:
            raise SIGTERMException

    def _save(self, trainer: pl.Trainer, pl_module: SubnetEvolution) -> None:
        with _as_at_epoch_end(trainer):
            for callback in trainer.callbacks:
                if isinstance(callback, RunCheckpoint):
                    callback.save(trainer, pl_module)
        self._saved = time.monotonic()


@contextmanager
def _as_at_epoch_end(trainer: pl.Trainer) -> Iterator[None]:
    """A checkpoint of the start of an epoch becomes one of the end of the epoch before.

    Lightning, going on from the start of an epoch, holds its batches for done, and would skip them.
    """
    progress = trainer.fit_loop.epoch_progress
    counts = (progress.total, progress.current) if progress.current.completed else ()
    for count in counts:
        count.ready, count.completed = count.ready - 1, count.completed - 1
    try:
        yield
    finally:
        for count in counts:
            count.ready, count.completed = count.ready + 1, count.completed + 1
