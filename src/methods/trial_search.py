"""Searches that train one network a trial, each from fresh weights, all in one fit."""

from typing import Any

import pytorch_lightning as pl

from src.errors import check_whole
from src.methods.search_module import SearchModule


class TrialSearch(SearchModule):
    """Counts trials: network k is trained from fresh weights, keyed by k, with its own optimizer and LR schedule.

    Args:
        trials: trainings.
        epochs_per_trial: of each training.
        least_epochs: the fewest epochs that a trial of this method makes sense with.
        base, input_shape, settings: as `SearchModule` has them.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        trials: int,
        epochs_per_trial: int,
        least_epochs: int = 1,
        **settings,
    ) -> None:
        check_whole("method.trials", trials, 1)
        check_whole("method.epochs_per_trial", epochs_per_trial, least_epochs)
        super().__init__(base, input_shape, **settings)
        self.trials, self.epochs_per_trial = trials, epochs_per_trial
        self.trial = 0

    def start_trial(self, config: dict[str, Any]) -> None:
        """Goes on with a fresh network of `config`, a new optimizer and a new LR schedule."""
        self.trial += 1
        self.replace_network(self.fresh_network(config, self.trial), config)

    def trial_ends(self) -> bool:
        """Whether the epoch under way is the last of its trial."""
        return (self.current_epoch + 1) % self.epochs_per_trial == 0

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.trials * self.epochs_per_trial
        super().search(trainer, data, checkpoint)

    def phase(self) -> str:
        return f"trial {self.trial + 1}/{self.trials}"

    def schedule_epochs(self) -> int:
        return self.epochs_per_trial

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["trial"] = self.trial

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.trial = checkpoint["trial"]
