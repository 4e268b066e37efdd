"""How far the probabilities of a classifier can be trusted: NLL, calibration error and predictive entropy.

In nats and percent, of logits (B, classes), as the later code of VINNAS's first author reports them; whether VINNAS
itself does is not known.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassCalibrationError

from src.tasks.heads import main_output

BINS = 10


def negative_log_likelihoods(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of the right class of each image, in nats (B,); without label smoothing."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def predictive_entropies(logits: Tensor, targets: Tensor | None = None) -> Tensor:
    """The entropy of the predicted distribution of each image, in nats (B,): 0 to log(classes)."""
    logs = functional.log_softmax(logits.float(), dim=1)
    return -torch.xlogy(logs.exp(), logs.exp()).sum(dim=1)


class MeanOfImages(Metric):
    """The mean over images of what `measure` gives for each: (logits, targets) -> (B,)."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, measure: Callable[[Tensor, Tensor], Tensor], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.measure = measure
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor | tuple, targets: Tensor) -> None:
        self.total += self.measure(main_output(outputs), targets).sum()
        self.seen += targets.numel()

    def compute(self) -> Tensor:
        return self.total / self.seen


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error in percent: 10 bins of confidence of equal width, L1; torchmetrics computes it."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, n_bins=BINS, norm="l1", validate_args=False, **kwargs)

    def update(self, outputs: Tensor | tuple, targets: Tensor) -> None:
        probabilities = main_output(outputs).float().softmax(dim=1)
        super().update(
            probabilities.nan_to_num(), targets
        )  # of a network that gives NaN: no confidence, wrong or right

    def compute(self) -> Tensor:
        return 100.0 * super().compute()
