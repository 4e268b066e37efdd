"""Multi-label classification: several attributes an image, each present or absent; binary cross entropy."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric, MetricCollection
from torchmetrics.functional.classification import multilabel_average_precision

from src.errors import UserError, check_range, check_whole
from src.tasks.heads import loss_of_heads, main_output


class Multilabel:
    """Binary cross entropy over `num_classes` attributes, and the mean error of the attributes.

    Logits are (B, num_classes), labels (B, num_classes) of 0 and 1, of any type. An attribute is predicted to be
    present where its logit is above 0. Networks may return auxiliary heads as they may in classification.

    Args:
        num_classes: the number of attributes.
        label_smoothing: s; the labels 0 and 1 are trained as s / 2 and 1 - s / 2.
        pos_weight: how many times a present attribute counts in the loss, one number or one for each attribute, as
            `torch.nn.BCEWithLogitsLoss` has it; None: once.
    """

    targets = "attributes"  # what it takes of the data: a row of 0 and 1 an image

    def __init__(
        self, num_classes: int, label_smoothing: float = 0.0, pos_weight: float | Sequence[float] | None = None
    ) -> None:
        self.num_classes = check_whole("num_classes", num_classes, 1)
        self.label_smoothing = float(check_range("task.label_smoothing", label_smoothing, 0.0, 1.0))
        self.pos_weight = _weights(pos_weight, num_classes)

    def __repr__(self) -> str:
        return (
            f"Multilabel(num_classes={self.num_classes}, label_smoothing={self.label_smoothing}, "
            f"pos_weight={self.pos_weight})"
        )

    def loss(self, outputs: Tensor | tuple, targets: Tensor) -> Tensor:
        """The mean over images and attributes: logits (B, num_classes), or a tuple of such, and labels of that shape.

        Raises:
            UserError: the logits or the labels are not of shape (B, num_classes).
        """
        if targets.ndim != 2 or targets.shape[1] != self.num_classes:
            raise UserError(
                f"the labels are a tensor of shape {tuple(targets.shape)}; multi-label classification needs "
                f"(batch, {self.num_classes}), 0 or 1 for each attribute"
            )
        targets = targets.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
        weight = None if self.pos_weight is None else targets.new_tensor(self.pos_weight)

        def cross_entropy(logits: Tensor) -> Tensor:
            return functional.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=weight)

        return loss_of_heads(outputs, cross_entropy, self.num_classes, "multi-label classification", "attributes")

    def metrics(self, **options: Any) -> MetricCollection:
        """In percent: `error`, `exact_match_error`, `mean_average_precision`; update them with (outputs, targets).

        options: those of torchmetrics, `sync_on_compute=False` say for what a rank measures by itself.
        """
        metrics: dict[str, Metric] = {
            "error": AttributeErrorRate(**options),
            "exact_match_error": AttributeErrorRate(exact_match=True, **options),
            "mean_average_precision": MeanAveragePrecision(**options),
        }
        return MetricCollection(metrics, compute_groups=False)


class AttributeErrorRate(Metric):
    """The percentage of attributes that are predicted wrongly, the mean over attributes; lower is better.

    exact_match: the percentage of images of which any attribute is wrong (the zero-one loss) instead.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, exact_match: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.exact_match = exact_match
        self.add_state("wrong", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor | tuple, targets: Tensor) -> None:
        """Counts a batch: logits (B, L), or a tuple with the logits first, and labels (B, L)."""
        logits = main_output(outputs)
        wrong = ((logits > 0) != targets.bool()) | logits.isnan()  # NaN > 0 is false: absent would be right
        wrong = wrong.any(dim=1) if self.exact_match else wrong
        self.wrong += wrong.sum()
        self.seen += wrong.numel()

    def compute(self) -> Tensor:
        return 100.0 * self.wrong / self.seen


class MeanAveragePrecision(Metric):
    """The mean over attributes of the area under precision against recall, in percent; higher is better.

    Attributes that no image has are left out of the mean; NaN where that leaves none. It keeps the scores of all
    images: 4 bytes for each image and attribute, 3 MB for the validation images of CelebA.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor | tuple, targets: Tensor) -> None:
        """Keeps a batch: logits (B, L), or a tuple with the logits first, and labels (B, L)."""
        # in [0, 1] in every batch: of a batch that happens to lie there, torchmetrics would take logits for scores
        scores = main_output(outputs).float().sigmoid()
        present = targets.bool()
        self.scores.append(torch.where(scores.isnan(), (~present).float(), scores))  # NaN ranks as wrong as can be
        self.labels.append(present.to(torch.uint8))  # gloo gathers no bool

    def compute(self) -> Tensor:
        scores, labels = (torch.cat(part) if isinstance(part, list) else part for part in (self.scores, self.labels))
        shown = labels.bool().any(dim=0)
        if not shown.any():
            return scores.new_tensor(torch.nan)
        scores, labels = scores[:, shown], labels[:, shown].long()
        count = labels.shape[1]
        values = multilabel_average_precision(scores, labels, count, average="none", validate_args=False)
        return 100.0 * torch.as_tensor(values).mean()


def _weights(given: float | Sequence[float] | None, count: int) -> list[float] | None:
    """`pos_weight` as one number for each attribute."""
    if given is None:
        return None
    several = isinstance(given, Sequence) and not isinstance(given, str)
    values = list(given) if several else [given] * count
    for value in values:
        if check_range("task.pos_weight", value, 0) == 0:
            raise UserError(f"task.pos_weight={given!r} is not allowed; it must be more than 0")
    if len(values) != count:
        raise UserError(
            f"task.pos_weight={given!r} is not allowed; it must be one number, or one for each of {count} attributes"
        )
    return [float(value) for value in values]
