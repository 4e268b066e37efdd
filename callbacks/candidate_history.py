"""The record of a search: `candidates.csv`, rewritten as the search goes on, with each candidate in all loggers.

When to use: in every search; the file is the record that all else is drawn from. Cost: the file is written whole, after
each candidate as long as that takes at most `share` of the time (a search of some hundreds never takes more), and with
every checkpoint, at the end and on a failure: what a killed search has in its checkpoint is in the file too.
"""

import math
import os

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from src.errors import WriteError, check_text
from src.reporting.candidates import OBJECTIVES, Candidate, best_candidate, write_candidates
from src.reporting.time_share import TimeShare
from src.reporting.wandb_mirror import log_candidates
from src.whole_files import output_folder


class CandidateHistory(pl.Callback):
    """Writes `<folder>/candidates.csv` and mirrors each candidate to the loggers.

    The search records a candidate with `pl_module.record(trainer, candidate)`; the list `pl_module.candidates`, which
    lies in the checkpoint, is what is written, so a resumed search goes on with the file of the interrupted one.

    Args:
        folder: the run folder; made if it is not there.
        objectives: what the column `is_pareto` stands for, unless the search has objectives of its own; all are made
            small.
        share: the largest part of the time that may go into the file between two checkpoints; 1 writes it after each
            candidate.
    """

    def __init__(self, folder: str, objectives: tuple[str, ...] = OBJECTIVES, share: float = 0.05):
        self.folder = check_text("callbacks.candidate_history.folder", folder)
        self.objectives = tuple(objectives)
        self.share = share
        self._time = TimeShare(share)
        self._behind = False  # whether candidates are missing in the file

    def __repr__(self) -> str:
        return f"CandidateHistory(folder={self.folder!r}, objectives={self.objectives!r}, share={self.share})"

    @property
    def path(self) -> str:
        return os.path.join(self.folder, "candidates.csv")

    def _objectives(self, pl_module) -> tuple[str, ...]:
        return getattr(pl_module, "objectives", None) or self.objectives

    def setup(self, trainer, pl_module, stage):
        if trainer.is_global_zero and stage == "fit":
            output_folder(self.folder)

    def on_candidate(self, trainer, pl_module, candidate: Candidate):
        """Called by the search after `candidate` has joined `pl_module.candidates`."""
        if not trainer.is_global_zero:
            return
        self._behind = True
        if self._time.allowed():
            self._write(pl_module)
        best = best_candidate(pl_module.candidates)
        numbers = {"error": candidate.error, "macs": candidate.macs, "params": candidate.params}
        numbers |= {"best_error": best.error if best else math.nan} | candidate.extra
        step = pl_module.log_step() if hasattr(pl_module, "log_step") else trainer.global_step
        for logger in trainer.loggers:
            metrics = {f"candidate/{name}": float(value) for name, value in numbers.items()}
            logger.log_metrics(metrics, step=step - 1)  # of the epoch that has ended

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if trainer.is_global_zero and self._behind:
            self._write(pl_module)

    def on_exception(self, trainer, pl_module, exception):
        if not (trainer.is_global_zero and self._behind) or isinstance(exception, WriteError):
            return
        try:
            self._write(pl_module)
        except WriteError as error:  # it must not take the place of the exception that ended the fit
            rank_zero_warn(f"{self.path} could not be brought up to date: {error}")

    def on_fit_end(self, trainer, pl_module):
        candidates = getattr(pl_module, "candidates", [])
        if trainer.is_global_zero and candidates:
            self._write(pl_module)
            log_candidates(trainer.loggers, candidates)

    def _write(self, pl_module) -> None:
        with self._time.spent():
            write_candidates(self.path, pl_module.candidates, self._objectives(pl_module))
        self._behind = False
