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

from src.errors import UserError, check_range
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import resized
from src.lowrank.width_controller import admissible_bounds, round_to_multiple
from src.methods.search_module import SearchModule


class CONet(SearchModule):
    """A network that is trained in trials, each from fresh weights at its own widths.

    Args:
        trials: trainings; each is followed by one update of the widths.
        epochs_per_trial: of each training.
        init_width: every width of the first trial (the paper's 32); None starts at the widths of the base model.
        min_width, max_width: bounds of every width.
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
        max_width: int = 256,
        multiple: int = 2,
        **settings,
    ) -> None:
        for name, value in (("trials", trials), ("epochs_per_trial", epochs_per_trial), ("multiple", multiple)):
            check_range(f"method.{name}", value, 1)
        if init_width is not None:
            check_range("method.init_width", init_width, 1)
        super().__init__(base, input_shape, **settings)
        self.trials, self.epochs_per_trial = trials, epochs_per_trial
        self.graph = channel_graph(self.network, self.input_shape)
        if not self.graph.free:
            raise UserError("this model has no width to search: every channel group is frozen")
        self.multiples = {group.name: lcm(group.multiple, multiple) for group in self.graph.free}
        self.bounds = {name: self._bounds(name, min_width, max_width) for name in self.multiples}
        self.costs = cost_polynomial(self.graph)
        self.trial = 0
        self.stopped = False
        self.widths = self._first_widths(init_width)
        self.network, self.config = self.network_of(self.widths, 0)
        today = self.graph.widths()
        self.base_network = {"macs": int(self.costs.macs(today)), "params": int(self.costs.params(today))}

    def _bounds(self, name: str, min_width: int, max_width: int) -> tuple[int, int]:
        try:
            return admissible_bounds(min_width, max_width, self.multiples[name])
        except UserError as error:
            raise UserError(f"method: width group {name!r}: {error}") from error

    def _first_widths(self, init_width: int | None) -> dict[str, int]:
        if init_width is None:
            return self.graph.widths()
        widths = {}
        for name, (low, high) in self.bounds.items():
            widths[name] = min(max(round_to_multiple(init_width, self.multiples[name]), low), high)
        return widths

    def network_of(self, widths: Mapping[str, int], trial: int) -> tuple[nn.Module, dict[str, Any]]:
        """A fresh network with `widths` for `trial`, and its model config."""
        config = resized_config(self.base, self.input_shape, widths)
        return self.fresh_network(config, trial), config

    def start_trial(self, widths: Mapping[str, int]) -> None:
        """Goes on with a fresh network at `widths`, a new optimizer and a new LR schedule."""
        self.trial, self.widths = self.trial + 1, dict(widths)
        self.replace_network(*self.network_of(widths, self.trial))

    def finish(self, widths: Mapping[str, int]) -> None:
        """Takes `widths` as the result; they are not trained any more in the search."""
        self.widths, self.stopped = dict(widths), True

    def architecture(self) -> dict[str, Any]:
        return resized_config(self.base, self.input_shape, self.widths)

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.trials * self.epochs_per_trial
        super().search(trainer, data, checkpoint)

    def remark(self) -> str:
        """How many of the final widths a bound holds: where it is many, the bounds decide and not the ranks."""
        least, most = (sum(self.widths[name] == self.bounds[name][side] for name in self.widths) for side in (0, 1))
        return f"{least} of {len(self.widths)} widths are at the minimum, {most} at the maximum"

    def phase(self) -> str:
        return f"trial {self.trial + 1}/{self.trials}"

    def schedule_epochs(self) -> int:
        return self.epochs_per_trial

    def report_figures(self) -> list:
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["conet"] = {"trial": self.trial, "widths": dict(self.widths), "stopped": self.stopped}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["conet"]
        self.trial, self.widths, self.stopped = state["trial"], dict(state["widths"]), state["stopped"]


def resized_config(base: dict[str, Any], input_shape: tuple[int, ...], widths: Mapping[str, int]) -> dict[str, Any]:
    """The model config of `base` at `widths`. A base that is a resized model itself has its widths replaced."""
    target = f"{resized.__module__}.{resized.__name__}"
    if base.get("_target_") == target and tuple(base["input_shape"]) == tuple(input_shape):
        return {**base, "widths": {**base["widths"], **widths}}
    return {"_target_": target, "model": base, "input_shape": list(input_shape), "widths": dict(widths)}
