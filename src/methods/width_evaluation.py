"""What a width is worth to a super-net: the best of the channel sets that it may stand for (CafeNet, section 3).

The paper judges a width by its best candidate; of how it does that nothing is published. Here it happens in two stages,
so that the validation images do not choose and judge at once: the maximum of noisy values is too good, the more so the
more candidates there are.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from src.elastic.index_sets import Choice
from src.elastic.network import ElasticNetwork, Path
from src.elastic.statistics import Statistics
from src.errors import check_choice

REDUCTIONS = ("min_train_loss", "max", "mean", "first")
Batches = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class WidthValue:
    """error: in percent, of validation; train_loss: of the calibration; candidate: which one was taken (-1: all)."""

    error: float
    train_loss: float
    candidate: int


class WidthEvaluation:
    """Evaluates candidates of a width, each with statistics of batch norms of its own.

    On several processes each evaluates widths by itself, on all validation images: nothing here talks to another rank.

    Args:
        network: the super-net; nothing of it changes.
        task: loss and metrics.
        calibration: batches (images (B, C, H, W), targets) of training images, which give the statistics.
        validation: all validation batches.
        reduce: "min_train_loss": the error of the candidate with the lowest loss on the calibration batches, which are
            training images; "max": the lowest error of all (the highest accuracy); "mean": the mean error; "first":
            that of the first candidate.
        context: under which the network runs (mixed precision).
    """

    def __init__(
        self,
        network: ElasticNetwork,
        task,
        calibration: Batches,
        validation: Iterable[tuple[Tensor, Tensor]],
        reduce: str = "min_train_loss",
        context=nullcontext,
    ) -> None:
        self.network, self.task, self.context = network, task, context
        self.calibration, self.validation = calibration, validation
        self.reduce = check_choice("method.width_reduce", reduce, REDUCTIONS)

    @torch.no_grad()
    def evaluate(self, choices: Sequence[Choice]) -> WidthValue:
        """The value of the width that `choices` stand for."""
        modes = [(module, module.training) for module in self.network.modules()]
        choices = choices[:1] if self.reduce == "first" else choices
        try:
            with self.context():
                return self._reduced([self.network.path(choice) for choice in choices])
        finally:
            for module, training in modes:  # of which some may be frozen
                module.training = training

    def _reduced(self, paths: Sequence[Path]) -> WidthValue:
        calibrated = [self.calibrated(path) for path in paths]
        losses = [loss for _, loss in calibrated]
        lowest = min(range(len(losses)), key=lambda k: (not losses[k] < torch.inf, losses[k]))  # NaN is the last
        if self.reduce in ("min_train_loss", "first"):
            return WidthValue(self.error(paths[lowest], calibrated[lowest][0]), losses[lowest], lowest)
        errors = [self.error(path, statistics) for path, (statistics, _) in zip(paths, calibrated, strict=True)]
        if self.reduce == "mean":
            return WidthValue(sum(errors) / len(errors), sum(losses) / len(losses), -1)
        best = min(range(len(errors)), key=errors.__getitem__)
        return WidthValue(errors[best], losses[best], best)

    def calibrated(self, path: Path) -> tuple[Statistics, float]:
        """The statistics of `path`, and its mean loss in the passes that gave them (each batch with its own)."""
        losses = []

        def note(number: int, outputs) -> None:
            losses.append(self.task.loss(outputs, self.calibration[number][1]))

        statistics = self.network.calibrated(path, (images for images, _ in self.calibration), note)
        return statistics, float(torch.stack(losses).mean())

    def error(self, path: Path, statistics: Statistics) -> float:
        """The validation error in percent."""
        self.network.eval()
        device = next(self.network.parameters()).device
        metrics = self.task.metrics(sync_on_compute=False).to(device)  # other ranks evaluate other widths
        for images, targets in self.validation:
            metrics.update(self.network(images, path, statistics), targets)
        return float(metrics.compute()["error"])
