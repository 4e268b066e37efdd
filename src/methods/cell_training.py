"""A super-net of cells in training (DARTS, arXiv 1806.09055).

Every edge of a cell carries all operations, each multiplied by a gate; all cells of one type share their gates. What a
gate is, and how gates are moved, is the method's: a softmax of logits (`Darts`), or a Gaussian with a learnt mean and
variance (`Vinnas`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.methods.search_module import SearchModule
from src.networks.cell_network import MOST_CHANNELS, MOST_LAYERS
from src.networks.frozen_statistics import frozen_statistics
from src.spaces.cell_configs import with_variational_weights
from src.spaces.cell_space import CellSpace

MODES = ("joint", "bilevel")


class CellTraining(SearchModule):
    """Trains the weights of a super-net of cells; a subclass says what its gates are.

    Args:
        space: (base, input_shape) -> the cells that are searched.
        epochs: of the search.
        channels, layers, reductions: of the super-net; None: those of the base.
        normalise_outputs: a batch norm after every operation that has none.
        mode: "joint": weights and structure learn from the same images; "bilevel": the structure from others.
        arch_fraction: of the training images, for the structure alone; only with "bilevel".
        variational: whether the weights of the super-net are variational, with `variational_settings` (as
            `src.variational.conversion.variational` has them).
        adam_lr: of Adam, which moves the weights of the super-net; None: the optimizer of `settings` moves them.
        base, input_shape, settings: as `SearchModule` has them.

    Raises:
        UserError: an argument that is not allowed, or a base that is no network of cells.
    """

    unused_parameters = True
    warmup_epochs = 0  # in which the structure rests

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        space: Callable[[dict[str, Any], tuple[int, int, int]], CellSpace] = CellSpace,
        epochs: int = 20,
        channels: int | None = None,
        layers: int | None = None,
        reductions: Sequence[int] | None = None,
        normalise_outputs: bool = False,
        mode: str = "joint",
        arch_fraction: float = 0.5,
        variational: bool = False,
        variational_settings: Mapping[str, Any] | None = None,
        adam_lr: float | None = None,
        **settings,
    ) -> None:
        if adam_lr is not None:
            rate = check_range("method.weights.adam_lr", adam_lr, 0, 100)
            settings["optimizer"] = partial(torch.optim.Adam, lr=rate)
        self.space = space(base, tuple(input_shape))
        self.epochs = check_whole("method.epochs", epochs, 1)
        self.mode = check_choice("method.mode", mode, MODES)
        self.arch_fraction = check_range("method.arch.fraction", arch_fraction, 0.01, 0.9)
        check_flag("method.cells.normalise_outputs", normalise_outputs)
        own = self.space.arguments["layers"]
        _check_size(channels, own if layers is None else layers, reductions)
        check_flag("method.weights.variational", variational)
        variational_settings = checked_variational("method.weights", variational_settings)
        super().__init__(base, input_shape, **settings)
        self.config = self.space.supernet_config(channels, layers, reductions, normalise_outputs)
        if variational:
            self.config = with_variational_weights(self.config, variational_settings)
        self.network = self.fresh_network(self.config, 0)
        self.base_network = {"macs": self.space.macs(self.space.start), "params": self.space.params(self.space.start)}
        self.seconds_searched = 0.0

    # what a method says of its gates

    def gate_values(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Gates of a training step (T, E, O) or (B, T, E, O); variances (T, E, O) for noise per activation, or None."""
        raise NotImplementedError

    def mean_gates(self) -> Tensor:
        """The gates of an evaluation, (T, E, O)."""
        raise NotImplementedError

    def scores(self) -> Tensor:
        """What a derivation goes by, (T, E, O): the larger, the sooner an operation is kept."""
        raise NotImplementedError

    def log_alpha(self) -> Tensor | None:
        """The dropout rate of each gate as log alpha, (T, E, O); None where gates have none."""
        return None

    def structure_state(self) -> dict[str, Tensor]:
        """What all ranks must hold alike beside the weights."""
        raise NotImplementedError

    def live(self) -> Tensor:
        """(T, E, O) bool: the operations that have not been dropped."""
        return torch.ones(self.scores().shape, dtype=torch.bool)

    def running(self) -> Tensor:
        """(T, E, O) bool: the operations that take part now."""
        return self.live()

    @property
    def threshold(self) -> float:
        """Of log alpha, from which on an operation is noise."""
        return 3.0

    # steps

    def learning_stages(self) -> list[tuple[str, int]]:
        return [("the search", self.epochs)]

    def stage_epoch(self) -> int:
        return self.current_epoch

    @property
    def learns(self) -> bool:
        """Whether the structure takes steps of its own, on images of its own."""
        return self.mode == "bilevel"

    def show_live(self) -> None:
        """Has the super-net skip what was dropped."""
        self.network.set_live(self.running())

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.show_live()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        gates, variances = self.gate_values(len(images))
        if self.learns:
            gates, variances = gates.detach(), None if variances is None else variances.detach()
        loss = self.task.loss(self(images, gates, variances), targets)
        self._add_loss("train", loss, len(images))
        return loss

    def structure_loss(self, batch: tuple[Tensor, Tensor], gates: Tensor, variances: Tensor | None) -> Tensor:
        """The loss of a batch with these gates, for a step of the structure alone: no running statistic moves."""
        images, targets = batch
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        # not through the DDP wrapper: nothing is to be accumulated in the gradients of the weights
        with self.trainer.precision_plugin.forward_context(), frozen_statistics(self.network):
            return self.task.loss(self.network(images, gates, variances), targets)

    def _evaluate(self, stage: str, metrics, batch: tuple[Tensor, Tensor]) -> None:
        images, targets = batch
        outputs = self(images, self.mean_gates())
        self._add_loss(stage, self.task.loss(outputs, targets), len(images))
        metrics.update(outputs, targets)

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.epochs
        data.reserve(self.arch_fraction if self.learns else 0, "method.arch.fraction")
        super().search(trainer, data, checkpoint)
        self.seconds_searched = self.seconds
        data.reserve(0, "method.arch.fraction")

    def schedule_epochs(self) -> int:
        return self.epochs


def _check_size(channels: int | None, layers: int, reductions: Sequence[int] | None) -> None:
    """Of the super-net, under the names that the user has given them."""
    if channels is not None and check_whole("method.cells.channels", channels, 2, MOST_CHANNELS) % 2:
        raise UserError(f"method.cells.channels={channels} is not allowed; it must be even, {channels + 1} say")
    check_whole("method.cells.layers", layers, 1, MOST_LAYERS)
    if reductions is not None:
        if not isinstance(reductions, (list, tuple)):
            raise UserError(
                f"method.cells.reductions={reductions!r} is not allowed; it must be a list of cells, [1] say"
            )
        for place, layer in enumerate(reductions):
            check_whole(f"method.cells.reductions[{place}]", layer, 0, layers - 1)
        if len(set(reductions)) < len(reductions):
            raise UserError(f"method.cells.reductions={list(reductions)} is not allowed; it has a cell twice")


def checked_variational(where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of `variational`, under the names that the user has given them."""
    for name, value in (given or {}).items():
        if name == "stem":
            check_flag(f"{where}.stem", value)
        else:
            check_range(f"{where}.{name}", value, -50, 50)
    return dict(given or {})
