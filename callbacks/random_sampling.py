"""Records each random candidate at the end of its trial, and starts the next one.

When to use: with `method=random`. Cost: none beside the trials; all candidates are drawn when the search is made.
"""

import math

import pytorch_lightning as pl

from src.errors import UserError
from src.methods.random_search import RandomSearch
from src.reporting.candidates import Candidate


class RandomSampling(pl.Callback):
    """Has no state of its own: which trial is under way lies with the module."""

    def __repr__(self) -> str:
        return "RandomSampling()"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, RandomSearch):
            raise UserError(f"RandomSampling needs method=random, not {type(pl_module).__name__}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: RandomSearch) -> None:
        if not pl_module.trial_ends():
            return
        pl_module.record(trainer, self._candidate(trainer, pl_module))
        if pl_module.trial + 1 < pl_module.trials:
            pl_module.next_candidate()

    def _candidate(self, trainer: pl.Trainer, pl_module: RandomSearch) -> Candidate:
        genotype = pl_module.genotypes[pl_module.trial]
        error, loss = (_logged(trainer, f"{pl_module.prefix}val/{name}") for name in ("error", "loss"))
        return Candidate(
            id=pl_module.trial,
            parent=None,
            step=trainer.current_epoch,
            error=error if math.isfinite(loss) else math.nan,  # scores that are not numbers still have an argmax
            macs=pl_module.space.macs(genotype),
            params=pl_module.space.params(genotype),
            seconds=pl_module.seconds_since_candidate(),
            architecture=genotype,
        )


def _logged(trainer: pl.Trainer, name: str) -> float:
    return float(trainer.callback_metrics.get(name, math.nan))
