"""CONet: channel widths from the rank of the weights (Hosseini et al. 2021, https://arxiv.org/abs/2108.06822).

The network is trained for a few epochs; then each width grows where the rank of the weights around it still rises fast,
and shrinks where it does not; then a fresh network with the new widths is trained, and so on. The decisions use the
weights alone. What is measured stands in `src.lowrank`, when in the callbacks `RankMeasurement` and `ChannelRescaling`.
"""

from collections.abc import Mapping
from typing import Any

from src.errors import UserError, check_whole
from src.methods.trial_search import TrialSearch
from src.multiples import round_to_multiple
from src.reporting.candidates import Candidate
from src.spaces.widths import WidthSpace, resized_config


class CONet(TrialSearch):
    """A network that is trained in trials, each from fresh weights at its own widths.

    Args:
        trials: trainings; each is followed by one update of the widths.
        epochs_per_trial: of each training.
        init_width: every width of the first trial (the paper's 32); None starts at the widths of the base model.
        min_width, max_width, multiple: what widths are admissible, as `WidthSpace` has them (the paper's are even).
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
        if init_width is not None:
            check_whole("method.init_width", init_width, 1)
        # the slope of a rank takes two epochs
        super().__init__(base, input_shape, trials, epochs_per_trial, least_epochs=2, **settings)
        space = WidthSpace(base, input_shape, min_width, max_width, multiple)
        self.inner, self.start = space.inner, space.start
        self.graph, self.costs = space.graph, space.costs
        self.multiples, self.bounds = space.multiples, space.bounds
        self.widths = self._first_widths(init_width)
        self.config = self.architecture()
        self.network = self.fresh_network(self.config, 0)
        self.base_network = {"macs": space.macs(self.start), "params": space.params(self.start)}

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

    def train_widths(self, widths: Mapping[str, int]) -> None:
        """Starts the next trial, at `widths`."""
        self.widths = dict(widths)
        self.start_trial(self.architecture())

    def finish(self, widths: Mapping[str, int]) -> None:
        """Takes `widths` as the result; they are not trained any more in the search."""
        self.widths = dict(widths)

    def architecture(self) -> dict[str, Any]:
        return resized_config(self.inner, self.input_shape, self.widths)

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return resized_config(self.inner, self.input_shape, candidate.architecture)

    def at_bounds(self) -> tuple[int, int]:
        """How many widths stand at their minimum, and how many at their maximum."""
        least, most = (sum(self.widths[name] == self.bounds[name][side] for name in self.widths) for side in (0, 1))
        return least, most

    def remark(self) -> str:
        """How many of the final widths a bound holds: where it is many, the bounds decide and not the ranks."""
        least, most = self.at_bounds()
        return f"{least} of {len(self.widths)} widths are at the minimum, {most} at the maximum"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["conet"] = {"widths": dict(self.widths)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.widths = dict(checkpoint["conet"]["widths"])
