"""A super-net of cells in training, and the genotype that its structure stands for (DARTS, arXiv 1806.09055).

Every edge of a cell carries all operations, each multiplied by a gate; all cells of one type share their gates. What a
gate is, and how gates are moved, is the method's: a softmax of logits (`Darts`), or a Gaussian with a learnt mean and
variance (`Vinnas`). After each epoch the genotype that the gates stand for is derived and recorded as a candidate; its
error is that of the super-net, its costs are those of the network that is made of it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_choices, check_flag, check_range, check_whole
from src.methods.search_module import SearchModule
from src.networks.cell_network import MOST_CHANNELS, MOST_LAYERS
from src.networks.frozen_statistics import frozen_statistics
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.reporting.cell_figures import cell_figure, histogram_figure, short_cells
from src.runtime.seeds import keyed_generator
from src.spaces.cell_space import CellSpace
from src.spaces.collapse import collapse_measures, dead_edges
from src.spaces.derivation import derive

MODES = ("joint", "bilevel")
RULES = ("top2", "ard")
CONTROLS = ("random", "dense")
VARIATIONAL = "src.variational.conversion.variational"


class CellSearch(SearchModule):
    """Trains a super-net of cells; a subclass says what its gates are.

    Args:
        space: (base, input_shape) -> the cells that are searched.
        epochs: of the search.
        channels, layers, reductions: of the super-net; None: those of the base.
        mode: "joint": weights and structure learn from the same images; "bilevel": the structure from others.
        arch_fraction: of the training images, for the structure alone; only with "bilevel".
        rule: how a genotype is derived, as `derive` has it.
        normalise_outputs: a batch norm after every operation that has none.
        variational: whether the weights of the super-net are variational, with `variational_settings` (as
            `src.variational.conversion.variational` has them).
        retrain_variational, retrain_settings: the same for the network that was found, and for random ones beside it.
        adam_lr: of Adam, which moves the weights of the super-net; None: the optimizer of `settings` moves them.
        controls: networks that are trained beside the found one: "random", a random genotype trained as the found one
            is, and "dense", the found genotype without variational weights.
        base, input_shape, settings: as `SearchModule` has them.

    Raises:
        UserError: an argument that is not allowed, or a base that is no network of cells.
    """

    unused_parameters = True

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        space: Callable[[dict[str, Any], tuple[int, int, int]], CellSpace] = CellSpace,
        epochs: int = 20,
        channels: int | None = None,
        layers: int | None = None,
        reductions: Sequence[int] | None = None,
        mode: str = "joint",
        arch_fraction: float = 0.5,
        rule: str = "top2",
        normalise_outputs: bool = False,
        variational: bool = False,
        variational_settings: Mapping[str, Any] | None = None,
        retrain_variational: bool = False,
        retrain_settings: Mapping[str, Any] | None = None,
        adam_lr: float | None = None,
        controls: Sequence[str] = CONTROLS,
        **settings,
    ) -> None:
        if adam_lr is not None:
            rate = check_range("method.weights.adam_lr", adam_lr, 0, 100)
            settings["optimizer"] = partial(torch.optim.Adam, lr=rate)
        self.space = space(base, tuple(input_shape))
        self.epochs = check_whole("method.epochs", epochs, 1)
        self.mode = check_choice("method.mode", mode, MODES)
        self.arch_fraction = check_range("method.arch.fraction", arch_fraction, 0.01, 0.9)
        self.rule = check_choice("method.derivation.rule", rule, RULES)
        self.control_names = check_choices("method.controls", controls, CONTROLS)
        check_flag("method.cells.normalise_outputs", normalise_outputs)
        own = self.space.arguments["layers"]
        _check_size(channels, own if layers is None else layers, reductions)
        check_flag("method.weights.variational", variational)
        variational_settings = _checked_settings("method.weights", variational_settings)
        self.retrain_variational = check_flag("method.retrain.variational", retrain_variational)
        self._retrain_settings = _checked_settings("method.retrain", retrain_settings)
        super().__init__(base, input_shape, **settings)
        self.config = self.space.supernet_config(channels, layers, reductions, normalise_outputs)
        if variational:
            self.config = _wrapped(self.config, variational_settings)
        self.network = self.fresh_network(self.config, 0)
        self.base_network = {"macs": self.space.macs(self.space.start), "params": self.space.params(self.space.start)}
        self.genotype: dict[str, Any] | None = None
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
        self.network.set_live(self.live())

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

    # what is found

    def derived(self) -> dict[str, Any]:
        """The genotype that the gates stand for now."""
        alpha = self.log_alpha()
        return derive(
            self.rule,
            self.scores().detach().cpu(),
            None if alpha is None else alpha.detach().cpu(),
            self.space.operations,
            self.space.edges,
            threshold=self.threshold,
            live=self.live().cpu(),
        )

    @property
    def threshold(self) -> float:
        """Of log alpha, from which on an operation is noise."""
        return 3.0

    def candidate(self, error: float) -> Candidate:
        """The genotype of now, with the error of the super-net."""
        self.genotype = self.derived()
        return Candidate(
            id=len(self.candidates),
            parent=None,
            step=self.current_epoch,
            error=error,
            macs=self.space.macs(self.genotype),
            params=self.space.params(self.genotype),
            seconds=self.seconds_since_candidate(),
            architecture=self.genotype,
            extra=self._collapse(),
        )

    def _collapse(self) -> dict[str, float]:
        """How far the search of now is from one kind of operation everywhere, and from none at all."""
        live, measures = self.live(), collapse_measures(self.genotype)
        genotype = {name: measures[name] for name in ("entropy", "parameter_free")}
        return {"operations_left": int(live.sum()), "dead_edges": int(dead_edges(live).sum()), **genotype}

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.epochs
        data.reserve(self.arch_fraction if self.learns else 0, "method.arch.fraction")
        super().search(trainer, data, checkpoint)
        self.seconds_searched = self.seconds
        data.reserve(0, "method.arch.fraction")

    def schedule_epochs(self) -> int:
        return self.epochs

    def _config(self, genotype: Mapping[str, Any], variational: bool = True) -> dict[str, Any]:
        config = _unwrapped(self.space.config(genotype))
        return _wrapped(config, self._retrain_settings) if variational and self.retrain_variational else config

    def architecture(self) -> dict[str, Any]:
        """The network of the genotype that was derived last; the base as long as there is none."""
        return self.base if self.genotype is None else self._config(self.genotype)

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self._config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        return {"cells": short_cells(candidate.architecture)}

    def controls(self) -> dict[str, dict[str, Any]]:
        made: dict[str, Any] = {}
        if "random" in self.control_names:
            genotype = self.space.sample(1, keyed_generator(self.seed, "control", "random"))[0]
            made["random"] = self._config(genotype)
        if "dense" in self.control_names and self.retrain_variational and self.genotype is not None:
            made["found-dense"] = self._config(self.genotype, variational=False)
        return made

    def check_monte_carlo(self, samples: int) -> None:
        if samples and not self.retrain_variational:
            raise UserError(
                f"export.monte_carlo={samples} needs a network with variational weights: "
                "give method.retrain.variational=true, or export.monte_carlo=0"
            )

    def remark(self) -> str:
        """What was found, whether it has collapsed, and what the search took."""
        if self.genotype is None:
            return "no genotype was derived"
        measures = collapse_measures(self.genotype)
        left = f"{int(self.live().sum())} of {self.live().numel()} operations of the super-net were left"
        return (
            f"found: {short_cells(self.genotype)}\n{100 * measures['parameter_free']:.0f} % of its edges are shortcuts "
            f"or pools, the entropy of its operations is {measures['entropy']:.2f} nats; {left}; the search took "
            f"{quantities.clock(self.seconds_searched)}"
        )

    def report_facts(self) -> dict[str, str]:
        facts = {"operations left": f"{int(self.live().sum())} of {self.live().numel()}"}
        if self.genotype is not None:
            facts["found"] = short_cells(self.genotype)
        if self.seconds_searched:
            facts["search"] = quantities.clock(self.seconds_searched)
        return facts

    def report_figures(self) -> list:
        """The drawn cells, how operations were shared out after each epoch, and what callbacks show."""
        if not self.candidates:
            return super().report_figures()
        last = self.candidates[-1].architecture
        drawn = [
            (f"{name} cell".capitalize(), "As derived after the last epoch.", cell_figure(last[key], f"{name} cell"))
            for key, name in (("normal", "normal"), ("reduce", "reduction"))
        ]
        history = histogram_figure([candidate.architecture for candidate in self.candidates])
        caption = "How often each operation stands in the genotype that would be derived after each epoch."
        return [*drawn, ("Operations of the genotype", caption, history), *super().report_figures()]

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["genotype"] = self.genotype

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.genotype = checkpoint["genotype"]


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
        for layer in reductions:
            check_whole("method.cells.reductions", layer, 0, layers - 1)


def _checked_settings(where: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of `variational`, under the names that the user has given them."""
    for name, value in (given or {}).items():
        if name == "stem":
            check_flag(f"{where}.stem", value)
        else:
            check_range(f"{where}.{name}", value, -50, 50)
    return dict(given or {})


def _wrapped(config: dict[str, Any], variational: Mapping[str, Any]) -> dict[str, Any]:
    """The model config of a network with variational weights."""
    return {"_target_": VARIATIONAL, "model": config, **variational}


def _unwrapped(config: dict[str, Any]) -> dict[str, Any]:
    """The model config of the same network with plain weights: the base may be one that a search has found."""
    return _unwrapped(config["model"]) if config["_target_"] == VARIATIONAL else config
