"""The record of a search: `candidates.csv`, rewritten after each candidate, with its numbers in all loggers.

When to use: in every search; the file is the record that all else is drawn from. Cost: one small file a candidate.
"""

import math
import os

import pytorch_lightning as pl

from src.errors import check_text
from src.reporting.candidates import OBJECTIVES, Candidate, best_candidate, write_candidates
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
    """

    def __init__(self, folder: str, objectives: tuple[str, ...] = OBJECTIVES):
        self.folder = check_text("callbacks.candidate_history.folder", folder)
        self.objectives = tuple(objectives)

    def __repr__(self) -> str:
        return f"CandidateHistory(folder={self.folder!r}, objectives={self.objectives!r})"

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
        write_candidates(self.path, pl_module.candidates, self._objectives(pl_module))
        best = best_candidate(pl_module.candidates)
        numbers = {"error": candidate.error, "macs": candidate.macs, "params": candidate.params}
        numbers |= {"best_error": best.error if best else math.nan} | candidate.extra
        step = pl_module.log_step() if hasattr(pl_module, "log_step") else trainer.global_step
        for logger in trainer.loggers:
            metrics = {f"candidate/{name}": float(value) for name, value in numbers.items()}
            logger.log_metrics(metrics, step=step - 1)  # of the epoch that has ended

    def on_fit_end(self, trainer, pl_module):
        candidates = getattr(pl_module, "candidates", [])
        if trainer.is_global_zero and candidates:
            write_candidates(self.path, candidates, self._objectives(pl_module))
            log_candidates(trainer.loggers, candidates)
