"""The base of every method: a network that is trained while callbacks change it, and the best model config so far."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torch import nn

from src.errors import UserError
from src.methods.final_training import Recipe, check_monte_carlo, compare
from src.methods.training_module import TrainingModule
from src.reporting.candidates import Candidate
from src.runtime.build import network_from
from src.runtime.ranks.stopping import stop_if_told
from src.runtime.rewrap import adopt_network, rewrap
from src.runtime.seeds import seeded
from src.variational.conversion import variational_layers

Progress = Callable[[], Mapping[str, Callback]]


class SearchModule(TrainingModule):
    """Holds what every search has: the base model config, the network of today, the candidates and the seed.

    A method says how its callbacks search and overrides what differs. Its promises:

    * `search(trainer, data)` runs the search; `architecture()` gives the best model config found so far;
    * `replace_network(network, config)` swaps the network in the middle of a fit, on every rank alike;
    * a checkpoint holds the config of its network and the candidates, and rebuilds the network from it.

    Args:
        base: model config (a plain dict with `_target_`) that the search starts from.
        input_shape: (C, H, W) of the images.
        seed: of everything stochastic, each keyed by what it is for.
        description: short texts for the report (model, data, ...).
        settings: those of `TrainingModule`.

    A method whose steps leave some parameters without a gradient says so by `unused_parameters = True`.
    """

    unused_parameters = False

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        seed: int = 0,
        description: dict[str, str] | None = None,
        **settings,
    ) -> None:
        self.base, self.input_shape, self.seed = base, tuple(input_shape), seed
        self.config = base  # of the network of today
        super().__init__(network=self.fresh_network(base, 0), seed=seed, **settings)
        if variational_layers(self.network):  # their noise rests in parts of a training
            self.unused_parameters = True
        self.ended = False  # whether the search has come to its end, maybe before its last epoch
        self.candidates: list[Candidate] = []
        self.description = {"method": type(self).__name__, **(description or {})}
        self._clock = time.monotonic()

    # for the callbacks

    def fresh_network(self, config: dict[str, Any], key: int) -> nn.Module:
        """The network of `config` with new weights, keyed by (seed, `key`): the same on all ranks and after resume."""
        with seeded(self.seed, "network", key):
            return self.network_of(config)

    def network_of(self, config: dict[str, Any]) -> nn.Module:
        """What is trained for a model config: its network; a method may train something that is made of it."""
        return network_from(config)

    def replace_network(self, network: nn.Module, config: dict[str, Any], keep_schedule: bool = False) -> None:
        """Trains `network` from the next step on, with a new optimizer. Call it on every rank with equal weights."""
        self.network, self.config, self.stepped = network, config, False
        rewrap(self.trainer, keep_schedule)
        self.on_fit_start()

    def record(self, trainer: pl.Trainer, candidate: Candidate) -> None:
        """Adds an evaluated candidate and tells every callback that has `on_candidate`."""
        self.candidates.append(candidate)
        self._clock = time.monotonic()
        for callback in trainer.callbacks:
            if hasattr(callback, "on_candidate"):
                callback.on_candidate(trainer, self, candidate)

    def seconds_since_candidate(self) -> float:
        return time.monotonic() - self._clock

    def callback(self, kind: type) -> Any:
        """The trainer's callback of this class; a callback that needs another one asks here."""
        found = [callback for callback in self.trainer.callbacks if isinstance(callback, kind)]
        if not found:
            raise UserError(f"{type(self).__name__} needs the callback {kind.__name__}: add it to method.callbacks")
        return found[0]

    def end_search(self) -> None:
        """Ends the search after this epoch, on every rank; a checkpoint of now holds a search that has ended."""
        self.ended = True
        self.trainer.should_stop = True

    # for the user

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        """Runs the whole search, in one fit."""
        self._clock = time.monotonic()
        trainer.fit(self, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        stop_if_told()

    def on_train_start(self) -> None:
        if self.ended:  # it was resumed after its end
            self.trainer.should_stop = True
        else:
            super().on_train_start()

    def architecture(self) -> dict[str, Any] | None:
        """The best model config so far; None where what was found is none."""
        return self.config

    def candidate_config(self, candidate: Candidate) -> dict[str, Any] | None:
        """The model config of a candidate; None where it is none."""
        raise NotImplementedError

    def controls(self) -> dict[str, dict[str, Any]]:
        """Model configs that are trained beside the found one for comparison, by the names of their rows."""
        return {}

    def check_monte_carlo(self, samples: int) -> None:
        """Raises `UserError` where so many draws (0: none) are asked for of a found network that will have no noise."""
        check_monte_carlo(samples, self.base)

    def compare(
        self, recipe: Recipe, name: str, data: pl.LightningDataModule, loggers: Sequence[Logger], progress: Progress
    ) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """The rows of the final table, and the found network: base, controls and found are trained and tested alike.

        name: of the model that the search started from. progress: makes callbacks for each training.
        """
        networks = {f"base {name}": self.base, **self.controls(), "found": self.architecture()}
        rows, trained = compare(recipe, networks, data, self.seed, loggers, progress)
        return rows, trained["found"].network if trained else None

    def remark(self) -> str:
        """What there is to say of the result beside the table."""
        return f"{len(self.candidates)} candidates were evaluated"

    def phase(self) -> str:
        """What the search is doing, for the progress bar."""
        return "searching"

    def report_figures(self) -> list:
        """(heading, caption, figure) of everything that a callback has to show."""
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    # checkpoints: the network has to be the right one before its weights are loaded

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["architecture"] = self.config
        checkpoint["ended"] = self.ended
        checkpoint["seconds_since_candidate"] = self.seconds_since_candidate()
        checkpoint["candidates"] = [candidate.to_dict() for candidate in self.candidates]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "architecture" not in checkpoint:
            raise UserError("the checkpoint holds no architecture: it was not written by a search of this project")
        super().on_load_checkpoint(checkpoint)
        self.config = checkpoint["architecture"]
        self.network = self.network_of(self.config)
        if self._trainer is not None:
            adopt_network(self.trainer)
        self.ended = checkpoint["ended"]
        self._clock = time.monotonic() - checkpoint["seconds_since_candidate"]
        self.candidates = [Candidate.from_dict(values) for values in checkpoint["candidates"]]
