"""Image classification: cross entropy, and the error rate in percent."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection

from src.errors import UserError, check_range
from src.tasks.calibration import (
    CalibrationError,
    MeanOfImages,
    negative_log_likelihoods,
    predictive_entropies,
)
from src.tasks.heads import loss_of_heads, main_output


class Classification:
    """Cross entropy with `num_classes` classes, and the share of images that are classified wrongly.

    Networks may return a tuple in training: the first element holds the logits, the others those of auxiliary heads
    (torchvision's `googlenet` and `inception_v3`), which add 0.3 times their loss each; metrics use the first.
    """

    targets = "class"  # what it takes of the data: the number of one class an image

    def __init__(self, num_classes: int, label_smoothing: float = 0.0) -> None:
        if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2:
            raise UserError(f"num_classes={num_classes!r} is not allowed; it must be a whole number, at least 2")
        self.num_classes = num_classes
        self.label_smoothing = float(check_range("label_smoothing", label_smoothing, 0.0, 1.0))

    def __repr__(self) -> str:
        return f"Classification(num_classes={self.num_classes}, label_smoothing={self.label_smoothing})"

    def loss(self, outputs: Tensor | tuple, targets: Tensor) -> Tensor:
        """The mean loss of a batch: logits (B, num_classes), or a tuple of such, and labels (B,) of type int64.

        Where images are mixed, targets are the shares of the classes, float (B, num_classes); label smoothing then
        takes its part of each share.

        Raises:
            UserError: the logits are not of shape (B, num_classes).
        """
        return loss_of_heads(
            outputs, lambda logits: self._cross_entropy(logits, targets), self.num_classes, "classification", "classes"
        )

    def metrics(self, **options: Any) -> MetricCollection:
        """`error`, in percent, and with more than 20 classes `error_top5`; update them with (outputs, targets).

        options: those of torchmetrics, `sync_on_compute=False` say for what a rank measures by itself.
        """
        metrics: dict[str, Metric] = {"error": ErrorRate(**options)}
        if self.num_classes > 20:
            metrics["error_top5"] = ErrorRate(top_k=5, **options)
        return MetricCollection(metrics, compute_groups=False)

    def test_metrics(self, **options: Any) -> MetricCollection:
        """For a final test: those of `metrics`, and `nll` and `entropy` in nats, `ece` in percent."""
        metrics = self.metrics(**options)
        metrics.add_metrics(
            {
                "nll": MeanOfImages(negative_log_likelihoods, **options),
                "ece": CalibrationError(self.num_classes, **options),
                "entropy": MeanOfImages(predictive_entropies, **options),
            }
        )
        return metrics

    def predictive_entropy(self, outputs: Tensor | tuple) -> Tensor:
        """The entropy of what is predicted for each image, in nats (B,)."""
        return predictive_entropies(main_output(outputs))

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing)


class ErrorRate(Metric):
    """The percentage of images whose label is not among the `top_k` largest logits; lower is better."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, top_k: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.top_k = top_k
        self.add_state("wrong", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor | tuple, targets: Tensor) -> None:
        """Counts a batch: logits (B, classes), or a tuple with the logits first, and labels (B,)."""
        logits = main_output(outputs)
        if self.top_k == 1:
            right = logits.argmax(dim=1) == targets
        else:
            right = (logits.topk(self.top_k, dim=1).indices == targets[:, None]).any(dim=1)
        right &= ~logits.isnan().any(dim=1)  # the largest of NaNs is the first: class 0 would be right
        self.wrong += (~right).sum()
        self.seen += targets.numel()

    def compute(self) -> Tensor:
        return 100.0 * self.wrong / self.seen
