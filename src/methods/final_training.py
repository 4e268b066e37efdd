"""A network trained from scratch and tested once, and the rows of the final table that come of it."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from src.errors import UserError, check_range
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.methods.cascade_testing import check_cascade, measured_macs
from src.methods.training_module import TrainingModule
from src.methods.weights import load_weights
from src.networks.cascade import Cascade
from src.runtime.build import network_from
from src.runtime.checkpoints import RunState, part_name
from src.runtime.preparation import partial
from src.runtime.ranks.stopping import stop_if_told
from src.runtime.seeds import seeded
from src.runtime.trainer import make_trainer
from src.variational.conversion import deterministic, variational_layers
from src.variational.counting import nonzero_parameters
from src.variational.monte_carlo import MonteCarlo

TRUST = ("nll", "ece", "entropy", "noise_entropy")  # of a test, where the task measures them


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training gives: the network and what was measured. Errors in percent; NaN where nothing was trained.

    `macs`: of a cascade, the average over the test images; None: those of the network say all.
    `trust`: of the test: nll, entropy and noise_entropy (nats), ece (percent), and where Monte-Carlo prediction was
    tested monte_carlo_error (percent), monte_carlo_nll, ...; empty where the task does not measure them.
    """

    network: nn.Module
    val_error: float
    test_error: float
    seconds: float
    is_global_zero: bool
    macs: float | None = None
    trust: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: the same for all that are compared.

    Args:
        epochs: 0 for no training at all.
        state: of the run: a training that was stopped goes on, one that has ended is not done again. None: nothing is
            kept.
        repeats: trainings of each network, with seeds s, s + 1, ...
        trainer: (callbacks, loggers, overrides) -> a Lightning Trainer.
        settings: of `TrainingModule`: task, optimizer, scheduler, ...
        monte_carlo: of variational networks, also test the mean prediction of so many draws; 0: do not.
        noise: what is drawn then, as `MonteCarlo` has it.
    """

    epochs: int
    repeats: int
    trainer: Callable[..., pl.Trainer]
    settings: dict[str, Any]
    state: RunState | None = None
    monte_carlo: int = 0
    noise: str = "weights"

    @classmethod
    def from_config(
        cls,
        node: DictConfig,
        trainer: DictConfig,
        task,
        state: RunState,
        where: str = "",
        monte_carlo: int = 0,
        noise: str = "weights",
    ) -> "Recipe":
        """From a config node with epochs, repeats (1 if absent), optimizer and scheduler, and the trainer's node.

        `where`: the place of `node` in the config, "retrain." say, for messages.
        """
        check_range(f"{where}epochs", node.epochs, 0)
        repeats = int(check_range(f"{where}repeats", node.get("repeats", 1), 1))
        settings = {
            "task": task,
            "optimizer": partial(node.optimizer, f"{where}optimizer"),
            "scheduler": partial(node.scheduler, f"{where}scheduler"),
            "compile": trainer.compile,
            "channels_last": trainer.channels_last,
        }

        def new_trainer(*args, **overrides) -> pl.Trainer:
            return make_trainer(trainer, *args, **overrides)

        return cls(node.epochs, repeats, new_trainer, settings, state, monte_carlo, noise)

    def train(
        self,
        config: Mapping[str, Any],
        data: pl.LightningDataModule,
        seed: int,
        loggers: Sequence[Logger] = (),
        prefix: str = "",
        callbacks: Sequence[Callback] = (),
        weights: Path | None = None,
        test_only: bool = False,
    ) -> TrainedNetwork:
        """Trains the network of a model config, from `weights` or fresh ones keyed by `seed`, and tests it once.

        With `test_only` it is validated and tested as it is.
        """
        network = self._network(config, seed, weights)
        part = part_name(prefix)
        ended = self.state.result(part) if self.state else None
        if ended is not None:
            network.load_state_dict(ended.pop("weights"))
            return TrainedNetwork(network, **ended, is_global_zero=rank_zero_only.rank == 0)
        check_accepts(network, data.input_shape)
        if isinstance(network, Cascade):
            check_cascade(self.settings["task"], test_only)
        checkpoint = self.state.checkpoint(part) if self.state else None
        checkpoint_io = self.state.checkpoint_io(part) if self.state else None
        # masked fine-tuning leaves log sigma^2 without a gradient
        unused = {"unused_parameters": True} if variational_layers(network) else {}
        trainer = self.trainer(callbacks, loggers, checkpoint_io, max_epochs=self.epochs, **unused)
        module = TrainingModule(network, prefix=prefix, seed=seed, **self.settings)
        if test_only:
            trainer.validate(module, datamodule=data, verbose=False)
        else:
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
            stop_if_told()
        # of a fit that was resumed after its last epoch, the module knows what Lightning does not
        measured = {"val_error": module.val_error, "seconds": math.nan if test_only else module.seconds}
        if isinstance(network, Cascade):
            network.reset_counts()
        trainer.test(module, datamodule=data, verbose=False)
        if isinstance(network, Cascade):
            measured["macs"] = measured_macs(network, data.input_shape)
        measured["test_error"] = float(trainer.callback_metrics[f"{prefix}test/error"])
        measured["trust"] = _trust(trainer, prefix)
        if self.monte_carlo and variational_layers(network):
            measured["trust"] |= self._monte_carlo_test(trainer, network, data, seed, prefix)
        if self.state and trainer.is_global_zero and not test_only:
            weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
            self.state.keep_result(part, {**measured, "weights": weights})
        stop_if_told()
        return TrainedNetwork(network, **measured, is_global_zero=trainer.is_global_zero)

    def _monte_carlo_test(
        self, trainer: pl.Trainer, network: nn.Module, data: pl.LightningDataModule, seed: int, prefix: str
    ) -> dict[str, float]:
        prefix = f"{prefix}monte_carlo/"
        settings = self.settings | {"compile": False}  # which would write the network once a draw
        drawing = MonteCarlo(network, self.monte_carlo, self.noise)
        module = TrainingModule(drawing, prefix=prefix, seed=seed, **settings)
        with seeded(seed, "monte carlo"):
            trainer.test(module, datamodule=data, verbose=False)
        measured = {"error": float(trainer.callback_metrics[f"{prefix}test/error"]), **_trust(trainer, prefix)}
        return {f"monte_carlo_{name}": value for name, value in measured.items()}

    def _network(self, config: Mapping[str, Any], seed: int, weights: Path | None) -> nn.Module:
        with seeded(seed, "network", 0):
            network = network_from(config)
        if weights is not None:
            load_weights(network, weights)
        return network


def _trust(trainer: pl.Trainer, prefix: str) -> dict[str, float]:
    """What a test has just logged of `TRUST`."""
    values = {name: trainer.callback_metrics.get(f"{prefix}test/{name}") for name in TRUST}
    return {name: float(value) for name, value in values.items() if value is not None}


def check_monte_carlo(samples: int, config: Mapping[str, Any]) -> None:
    """Raises `UserError` where Monte-Carlo prediction is asked for of a network without variational weights."""
    if samples and not variational_layers(network_from(config)):
        raise UserError(
            f"export.monte_carlo={samples} needs a network with variational weights: "
            "wrap the model in src.variational.conversion.variational, or give export.monte_carlo=0"
        )


def compare(
    recipe: Recipe,
    networks: Mapping[str, Mapping[str, Any]],
    data: pl.LightningDataModule,
    seed: int,
    loggers: Sequence[Logger] = (),
    progress: Callable[[], Mapping[str, Callback]] = dict,
) -> tuple[list[dict[str, Any]], dict[str, TrainedNetwork]]:
    """Trains and tests each of the model configs `recipe.repeats` times, alike.

    Returns the rows of the final table, and of each network the run with the lowest validation error: the test error
    has no say in which one is kept.
    """
    rows, best = [], {}
    for name, config in networks.items():
        runs = []
        for repeat in range(recipe.repeats if recipe.epochs else 0):
            word = name.split()[0]
            prefix = f"{word}/" if recipe.repeats == 1 else f"{word}-{repeat}/"
            callbacks = list(progress().values())
            data.order_seed = seed + repeat
            runs.append(recipe.train(config, data, seed + repeat, loggers, prefix, callbacks))
        data.order_seed = seed
        rows.append(table_row(name, config, data.input_shape, runs))
        if runs:
            best[name] = min(runs, key=lambda run: run.val_error)
    return rows, best


def table_row(
    name: str, config: Mapping[str, Any], input_shape: tuple[int, int, int], runs: Sequence[TrainedNetwork]
) -> dict[str, Any]:
    """A row of the final table: name, widths, parameters, MACs, and of each run its errors (%), seconds and `trust`.

    A cascade has no widths, and the MACs of each run are those that its test has measured. `parameters` are those that
    a prediction needs, without log sigma^2; `nonzero`, of each run, those of them that are not zero once the weights
    that are not live are removed, batch norms and biases counted.
    """
    network = deterministic(network_from(config))
    row = {"network": name, "width": None, "parameters": sum(p.numel() for p in network.parameters())}
    row |= {"nonzero": None, "macs": None}
    measured = ["val_error", "test_error", "seconds"]
    if isinstance(network, Cascade):
        measured.append("macs")
    else:
        try:
            graph = channel_graph(network, input_shape)
            widths = graph.widths()
            row |= {"width": widths or None, "macs": int(cost_polynomial(graph).macs(widths))}
        except UserError as error:  # it can be trained all the same
            warnings.warn(f"widths and MACs are not in the table: {error}", stacklevel=2)
    columns = {key: [getattr(run, key) for run in runs] for key in measured}
    columns["nonzero"] = [nonzero_parameters(run.network) for run in runs]
    for key in dict.fromkeys(key for run in runs for key in run.trust):
        columns[key] = [run.trust.get(key) for run in runs]
    for key, values in columns.items():
        row[key] = values[0] if len(values) == 1 else values or None
    return row


def check_accepts(network: nn.Module, input_shape: tuple[int, int, int]) -> None:
    """Raises `UserError`, before a training, where `network` or a member of it cannot take images (C, H, W)."""
    mode, images = network.training, torch.zeros(2, *input_shape)
    if isinstance(network, Cascade):
        network.eval().check_members(images)  # a forward pass need not come to all of them
    try:
        with torch.no_grad():
            network.eval()(images)
    except Exception as error:  # whatever a forward may raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{type(network).__name__} does not take images of shape {tuple(input_shape)}: {first}; "
            "data.channels and data.image_size fit the images to a model"
        ) from error
    network.train(mode)
