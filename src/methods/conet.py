"""CONet: channel widths from the rank of the weights (Hosseini et al. 2021, https://arxiv.org/abs/2108.06822).

The network is trained for a few epochs; then each width grows where the rank of the weights around it still rises fast,
and shrinks where it does not; then a fresh network with the new widths is trained, and so on. The decisions use the
weights alone. What is measured stands in `src.lowrank`, when in the callbacks `RankMeasurement` and `ChannelRescaling`.
"""

from collections.abc import Mapping
from math import lcm
from typing import Any

import pytorch_lightning as pl
from torch import nn

from src.errors import UserError, check_whole
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import check_resizable, resized
from src.lowrank.width_controller import admissible_bounds, round_to_multiple
from src.methods.search_module import SearchModule

_RESIZED = f"{resized.__module__}.{resized.__name__}"


class CONet(SearchModule):
    """A network that is trained in trials, each from fresh weights at its own widths.

    Args:
        trials: trainings; each is followed by one update of the widths.
        epochs_per_trial: of each training.
        init_width: every width of the first trial (the paper's 32); None starts at the widths of the base model.
        min_width, max_width: bounds of every width. max_width None: 256, or the widest of the model where that is more.
        multiple: of which every width is a multiple (the paper's widths are even), beside what the network demands.
        base, input_shape, seed, settings: as `SearchModule` has them.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        trials: int = 25,
        epochs_per_trial: int = 20,
        init_width: int | None = 32,
        min_width: int = 16,
        max_width: int | None = None,
        multiple: int = 2,
        **settings,
    ) -> None:
        # the slope of a rank takes two epochs
        for name, value, least in (("trials", trials, 1), ("epochs_per_trial", epochs_per_trial, 2)):
            check_whole(f"method.{name}", value, least)
        for name, value in (("width_multiple", multiple), ("min_width", min_width)):
            check_whole(f"method.{name}", value, 1)
        for name, value in (("init_width", init_width), ("max_width", max_width)):
            if value is not None:
                check_whole(f"method.{name}", value, 1)
        super().__init__(base, input_shape, **settings)
        self.trials, self.epochs_per_trial = trials, epochs_per_trial
        # widths are those of the model inside, also where the base is a resized one: only there do a grouped
        # convolution and a group norm tell how many groups they have
        self.inner, self.start = unwrapped(base, self.input_shape)
        inner = self.fresh_network(self.inner, 0)
        self.graph = channel_graph(inner, self.input_shape)
        if not self.graph.free:
            raise UserError("this model has no width to search: every channel group is frozen")
        check_resizable(inner, self.graph)
        self.start = self.graph.checked(self.start)
        if max_width is None:
            max_width = max(256, *(group.width for group in self.graph.free))
        self.multiples = {group.name: lcm(group.multiple, multiple) for group in self.graph.free}
        self.bounds = {name: self._bounds(name, min_width, max_width) for name in self.multiples}
        self.costs = cost_polynomial(self.graph)
        self.trial = 0
        self.widths = self._first_widths(init_width)
        self.network, self.config = self.network_of(self.widths, 0)
        self.base_network = {"macs": int(self.costs.macs(self.start)), "params": int(self.costs.params(self.start))}

    def _bounds(self, name: str, min_width: int, max_width: int) -> tuple[int, int]:
        try:
            return admissible_bounds(min_width, max_width, self.multiples[name])
        except UserError as error:
            raise UserError(f"method: width group {name!r}: {error}") from error

    def _first_widths(self, init_width: int | None) -> dict[str, int]:
        if init_width is None:
            return dict(self.start)
        widths = {name: round_to_multiple(init_width, multiple) for name, multiple in self.multiples.items()}
        for name, (low, high) in self.bounds.items():
            if not low <= widths[name] <= high:
                raise UserError(
                    f"method.init_width={init_width} is not allowed: width group {name!r} must be from {low} to {high}"
                )
        return widths

    def network_of(self, widths: Mapping[str, int], trial: int) -> tuple[nn.Module, dict[str, Any]]:
        """A fresh network with `widths` for `trial`, and its model config."""
        config = resized_config(self.inner, self.input_shape, widths)
        return self.fresh_network(config, trial), config

    def start_trial(self, widths: Mapping[str, int]) -> None:
        """Goes on with a fresh network at `widths`, a new optimizer and a new LR schedule."""
        self.trial, self.widths = self.trial + 1, dict(widths)
        self.replace_network(*self.network_of(widths, self.trial))

    def finish(self, widths: Mapping[str, int]) -> None:
        """Takes `widths` as the result; they are not trained any more in the search."""
        self.widths = dict(widths)

    def architecture(self) -> dict[str, Any]:
        return resized_config(self.inner, self.input_shape, self.widths)

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.trials * self.epochs_per_trial
        super().search(trainer, data, checkpoint)

    def at_bounds(self) -> tuple[int, int]:
        """How many widths stand at their minimum, and how many at their maximum."""
        least, most = (sum(self.widths[name] == self.bounds[name][side] for name in self.widths) for side in (0, 1))
        return least, most

    def remark(self) -> str:
        """How many of the final widths a bound holds: where it is many, the bounds decide and not the ranks."""
        least, most = self.at_bounds()
        return f"{least} of {len(self.widths)} widths are at the minimum, {most} at the maximum"

    def phase(self) -> str:
        return f"trial {self.trial + 1}/{self.trials}"

    def schedule_epochs(self) -> int:
        return self.epochs_per_trial

    def report_figures(self) -> list:
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["conet"] = {"trial": self.trial, "widths": dict(self.widths)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["conet"]
        self.trial, self.widths = state["trial"], dict(state["widths"])


def resized_config(model: dict[str, Any], input_shape: tuple[int, ...], widths: Mapping[str, int]) -> dict[str, Any]:
    """The model config of `model` at `widths`."""
    return {"_target_": _RESIZED, "model": model, "input_shape": list(input_shape), "widths": dict(widths)}


def unwrapped(base: dict[str, Any], input_shape: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, int]]:
    """The model inside a resized one and its widths, so that searches do not nest; any other model and no widths."""
    if base.get("_target_") == _RESIZED and tuple(base["input_shape"]) == tuple(input_shape):
        return base["model"], dict(base["widths"])
    return base, {}
