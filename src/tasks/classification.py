"""Image classification: cross entropy, and the error rate in percent."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection

from src.errors import UserError, check_range

# The weight of each auxiliary head's loss, from the GoogLeNet paper (Szegedy et al., 2015, section 5).
AUXILIARY_WEIGHT = 0.3


class Classification:
    """Cross entropy with `num_classes` classes, and the share of images that are classified wrongly.

    Networks may return a tuple in training: the first element holds the logits, the others those of auxiliary heads
    (torchvision's `googlenet` and `inception_v3`), which add 0.3 times their loss each; metrics use the first.
    """

    def __init__(self, num_classes: int, label_smoothing: float = 0.0) -> None:
        if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2:
            raise UserError(f"num_classes={num_classes!r} is not allowed; it must be a whole number, at least 2")
        self.num_classes = num_classes
        self.label_smoothing = float(check_range("label_smoothing", label_smoothing, 0.0, 1.0))

    def __repr__(self) -> str:
        return f"Classification(num_classes={self.num_classes}, label_smoothing={self.label_smoothing})"

    def loss(self, outputs: Tensor | tuple, targets: Tensor) -> Tensor:
        """The mean loss of a batch: logits (B, num_classes), or a tuple of such, and labels (B,) of type int64.

        Raises:
            UserError: the logits are not of shape (B, num_classes).
        """
        heads = [head for head in outputs if head is not None] if isinstance(outputs, (tuple, list)) else [outputs]
        for head in heads:
            self._check(head)
        total = self._cross_entropy(heads[0], targets)
        for head in heads[1:]:
            total = total + AUXILIARY_WEIGHT * self._cross_entropy(head, targets)
        return total

    def metrics(self) -> MetricCollection:
        """`error`, in percent, and with more than 20 classes `error_top5`; update them with (outputs, targets)."""
        metrics: dict[str, Metric] = {"error": ErrorRate()}
        if self.num_classes > 20:
            metrics["error_top5"] = ErrorRate(top_k=5)
        return MetricCollection(metrics, compute_groups=False)

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing)

    def _check(self, logits: Any) -> None:
        if not isinstance(logits, Tensor):
            raise UserError(f"the network returns a {type(logits).__name__}; classification needs logits, a tensor")
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise UserError(
                f"the network returns a tensor of shape {tuple(logits.shape)}, but the data has {self.num_classes}"
                f" classes: it must be (batch, {self.num_classes}); check model.num_classes"
            )


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


def main_output(outputs: Tensor | tuple) -> Tensor:
    """The logits (B, classes) of a network that may return those of auxiliary heads after them."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs
