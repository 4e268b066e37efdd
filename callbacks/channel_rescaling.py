"""Makes each channel width larger or smaller at the end of a trial (CONet, arXiv 2108.06822, Algorithm 2).

When to use: with `method=conet`, after `RankMeasurement` in the list of callbacks. Cost: none beside the trials.
The one knob for size is `delta`: small gives wide networks, large gives narrow ones. Its scale depends on the length of
a trial and on the schedule (the published values belong to 20 epochs of AdaS), so look at the slopes in the report.
"""

import math
from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.graph.votes import RULES, Voice, Vote, votes
from src.lowrank.slope import SLOPE_EPS, average_votes, rank_average_slope
from src.lowrank.width_controller import INITIAL_FACTOR, WidthState, update
from src.methods.conet import CONet
from src.reporting.candidates import Candidate
from src.reporting.figures import condition_figure, rank_figure, slope_figure

from .rank_measurement import RankMeasurement


class ChannelRescaling(pl.Callback):
    """Turns rank curves into widths, and starts the next trial.

    Args:
        delta: threshold of the rank average slope, per epoch: at or above it a width expands.
        mapping_condition: threshold of the mean mapping condition after a trial: at or above it a width shrinks.
        factor: first relative step of a width (phi).
        factor_min: a reversal with a smaller step than this stops a width (gamma).
        stop_test_before_halving: whether that test sees the step before it is halved (released code) or after.
        slope_eps: added to the epochs of a slope, as in the released code.
        votes: "corrected" or "released" (see `src.graph.votes`).
        patience: the search ends when no width has moved at this many updates in a row, or all have stopped; 0: all
            trials are done.
    """

    def __init__(
        self,
        delta: float = 0.0075,
        mapping_condition: float = 10.0,
        factor: float = INITIAL_FACTOR,
        factor_min: float = 0.01,
        stop_test_before_halving: bool = True,
        slope_eps: float = SLOPE_EPS,
        votes: str = "corrected",
        patience: int = 1,
    ) -> None:
        self.delta = check_range("method.delta", delta, 0)
        self.mapping_condition = check_range("method.mapping_condition", mapping_condition, 1)
        self.factor = check_range("method.factor", factor, 0.001, 0.9)
        self.factor_min = check_range("method.factor_min", factor_min, 0, 1)
        self.stop_test_before_halving = check_flag("method.stop_test_before_halving", stop_test_before_halving)
        self.slope_eps = check_range("method.slope_eps", slope_eps, 0)
        self.votes = check_choice("method.votes", votes, RULES)
        self.patience = check_whole("method.patience", patience, 0)
        self.states: dict[str, WidthState] = {}
        self.unmoved = 0
        # for the report: of each width, its rank after each epoch, and slope and condition at each update
        self.ranks: dict[str, list[float]] = {}
        self.slopes: dict[str, list[float]] = {}
        self.conditions: dict[str, list[float]] = {}
        self.boundaries: list[int] = []

    def __repr__(self) -> str:
        names = ("delta", "mapping_condition", "factor", "factor_min", "stop_test_before_halving", "votes", "patience")
        return f"ChannelRescaling({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds the measurement and the votes, and starts every width; says what is missing."""
        if stage != "fit":
            return
        if not isinstance(pl_module, CONet):
            raise UserError(f"ChannelRescaling needs method=conet, not {type(pl_module).__name__}")
        self.measurement: RankMeasurement = pl_module.callback(RankMeasurement)
        if trainer.callbacks.index(self.measurement) > trainer.callbacks.index(self):
            raise UserError("RankMeasurement must stand before ChannelRescaling in method.callbacks")
        self.ballot = votes(pl_module.graph, self.votes)
        voiceless = sorted(name for name, voices in self.ballot.items() if not voices)
        if voiceless:
            pl.utilities.rank_zero_warn(
                f"no convolution speaks for these widths alone, so they stay as they start: {', '.join(voiceless)}"
            )
        if not self.states:
            self.states = {name: WidthState(width, self.factor) for name, width in pl_module.widths.items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: CONet) -> None:
        """At the end of a trial: records it, moves the widths, and starts the next trial or ends the search."""
        epochs = len(self.measurement.history)
        if epochs < pl_module.epochs_per_trial:
            return
        # eigenvalues may differ in the last digit between kinds of machines: rank 0 decides for all
        slopes, conditions = trainer.strategy.broadcast(self._measured())
        pl_module.record(trainer, self._candidate(trainer, pl_module))
        before = dict(pl_module.widths)
        after = {name: self._moved(pl_module, name, slopes, conditions) for name in before}
        self.unmoved = self.unmoved + 1 if after == before else 0
        self.measurement.begin_trial()
        settled = all(self.states[name].stopped or not self.ballot[name] for name in after)
        if (self.patience and (settled or self.unmoved >= self.patience)) or pl_module.trial + 1 == pl_module.trials:
            pl_module.finish(after)
            pl_module.end_search()
        else:
            pl_module.train_widths(after)

    def _measured(self) -> tuple[dict[str, float], dict[str, float]]:
        """Slope and final condition of every width from the trial's curves; NaN where nothing could be measured."""
        measured = [(epoch, found) for epoch, found in enumerate(self.measurement.history) if found is not None]
        slopes, conditions = {}, {}
        for name, voices in self.ballot.items():
            if not voices:
                continue
            curves = torch.full((len(voices), len(self.measurement.history)), math.nan, dtype=torch.float64)
            for epoch, found in measured:
                curves[:, epoch] = _heard(voices, {vote: entry.rank for vote, entry in found.items()})
            curve = average_votes(curves)
            last = _heard(voices, {vote: entry.condition for vote, entry in measured[-1][1].items()})
            slopes[name] = float(rank_average_slope(curve, self.slope_eps))
            conditions[name] = float(average_votes(last))
            self.ranks.setdefault(name, []).extend(curve.tolist())
            self.slopes.setdefault(name, []).append(slopes[name])
            self.conditions.setdefault(name, []).append(conditions[name])
        self.boundaries.append((self.boundaries[-1] if self.boundaries else 0) + len(self.measurement.history))
        return slopes, conditions

    def _moved(self, pl_module: CONet, name: str, slopes: dict[str, float], conditions: dict[str, float]) -> int:
        """The new width of `name`; a width without votes stays."""
        if name not in slopes:
            return self.states[name].width
        low, high = pl_module.bounds[name]
        self.states[name] = update(
            self.states[name],
            slopes[name],
            conditions[name],
            delta=self.delta,
            mapping_condition=self.mapping_condition,
            factor_min=self.factor_min,
            min_width=low,
            max_width=high,
            multiple=pl_module.multiples[name],
            stop_test_before_halving=self.stop_test_before_halving,
        )
        return self.states[name].width

    def _candidate(self, trainer: pl.Trainer, pl_module: CONet) -> Candidate:
        widths = pl_module.widths
        least, most = pl_module.at_bounds()
        return Candidate(
            id=pl_module.trial,
            parent=pl_module.trial - 1 if pl_module.trial else None,
            step=trainer.current_epoch,
            error=float(trainer.callback_metrics.get(f"{pl_module.prefix}val/error", math.nan)),
            macs=int(pl_module.costs.macs(widths)),
            params=int(pl_module.costs.params(widths)),
            seconds=pl_module.seconds_since_candidate(),
            architecture=dict(widths),
            extra={"widths_at_minimum": least, "widths_at_maximum": most, "failed_ranks": self.measurement.failures},
        )

    def report_figures(self) -> list:
        """The rank curves, slopes and conditions of all widths, for the report."""
        if not self.ranks:
            return []
        return [
            (
                "Ranks",
                "The rank of each width, the mean over the weights that read or write it, after each epoch.",
                rank_figure(self.ranks, self.boundaries[:-1]),
            ),
            (
                "Rank slopes",
                "At each update: a width whose slope lies under delta shrinks, one at or above it grows.",
                slope_figure(self.slopes, self.delta),
            ),
            (
                "Mapping conditions",
                "At each update: a width whose condition lies at or above the threshold shrinks whatever its slope.",
                condition_figure(self._positive_conditions(), self.mapping_condition),
            ),
        ]

    def _positive_conditions(self) -> dict[str, list[float | None]]:
        """A weight of rank 0 has no condition, and no place on a logarithmic axis."""
        return {name: [value if value > 0 else None for value in curve] for name, curve in self.conditions.items()}

    def state_dict(self) -> dict:
        return {
            "states": {name: state.to_dict() for name, state in self.states.items()},
            "unmoved": self.unmoved,
            "ranks": self.ranks,
            "slopes": self.slopes,
            "conditions": self.conditions,
            "boundaries": self.boundaries,
        }

    def load_state_dict(self, state_dict: dict) -> None:
        self.states = {name: WidthState.from_dict(values) for name, values in state_dict["states"].items()}
        for name in ("unmoved", "ranks", "slopes", "conditions", "boundaries"):
            setattr(self, name, state_dict[name])


def _heard(voices: Sequence[Voice], values: Mapping[Vote, float]) -> Tensor:
    """What each voice says (voices,): the mean of its votes."""
    said = [torch.tensor([values[vote] for vote in voice], dtype=torch.float64) for voice in voices]
    return torch.stack([average_votes(votes) for votes in said])
