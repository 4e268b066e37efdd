"""What labels may be: the number of one class an image, int64 (N,), or a row of 0 and 1 an image, int64 (N, L)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.errors import UserError

# What a data set gives and a task takes, with the words of errors: how many there are, and what an image has.
KINDS = {"class": ("classes", "one class an image"), "attributes": ("attributes", "several labels an image")}


def label_kind(labels: Tensor) -> str:
    """One of `KINDS`, from the shape of labels (N,) or (N, L)."""
    return "class" if labels.ndim == 1 else "attributes"


def counted(name: str, labels: Tensor) -> int:
    """The number of classes or attributes in all training labels (N,) or (N, L) of data `name`.

    Raises `UserError` where a class is left out, or an attribute is the same on all images: an output would be trained
    that no image ever asks for.
    """
    if label_kind(labels) == "attributes":
        return _counted_attributes(name, labels)
    count = int(labels.max()) + 1 if len(labels) else 0
    present = torch.bincount(labels, minlength=count) if len(labels) and int(labels.min()) >= 0 else None
    if present is None or count < 2 or bool((present == 0).any()):
        found = labels.unique().tolist()
        shown = ", ".join(map(str, found[:12])) + (", ..." if len(found) > 12 else "")
        raise UserError(
            f"data {name}: the training labels are {shown or 'none'}; they must be 0, 1, ... up to the "
            "number of classes less one, two classes at least, with none left out"
        )
    return count


def _counted_attributes(name: str, labels: Tensor) -> int:
    if not labels.numel():
        raise UserError(f"data {name}: the training labels are none; there must be a row of 0 and 1 an image")
    _check_binary(name, labels, "training")
    constant = (labels == labels[0]).all(dim=0)
    if bool(constant.any()):
        number = int(constant.nonzero()[0])
        raise UserError(
            f"data {name}: attribute {number} is {int(labels[0, number])} on every training image; leave it out, or "
            "give images that have it and images that have not"
        )
    return labels.shape[1]


def check_known(name: str, labels: Tensor, split: str, kind: str, count: int) -> None:
    """Raises `UserError` where labels of another split are none of the `count` classes or attributes of training."""
    shape = f"(N, {count})" if kind == "attributes" else "(N,)"
    if label_kind(labels) != kind or (kind == "attributes" and labels.shape[1] != count):
        raise UserError(
            f"data {name}: the {split} labels are of shape {tuple(labels.shape)}; as the training labels they must be "
            f"{shape}"
        )
    if kind == "attributes":
        _check_binary(name, labels, split)
        return
    wrong = labels[(labels < 0) | (labels >= count)]
    if len(wrong):
        raise UserError(
            f"data {name}: the {split} labels hold {int(wrong[0])}, which is no class of the training data; "
            f"they must be from 0 to {count - 1}"
        )


def _check_binary(name: str, labels: Tensor, split: str) -> None:
    wrong = labels[(labels != 0) & (labels != 1)]
    if len(wrong):
        raise UserError(
            f"data {name}: the {split} labels hold {int(wrong[0])}; where an image has several labels each must be 0 "
            "or 1"
        )


def label_of_item(name: str, label: Any) -> int | list[int]:
    """The label that a data set serves with one image: a whole number, or a sequence of 0 and 1."""
    values = np.asarray(label) if isinstance(label, (list, tuple, np.ndarray, Tensor)) else None
    if values is not None and values.ndim == 1 and values.dtype.kind in "biuf" and np.isin(values, (0, 1)).all():
        return values.astype(np.int64).tolist()
    try:
        return int(label)
    except (TypeError, ValueError):
        raise UserError(
            f"data {name}: a label is {type(label).__name__}; it must be a whole number, or a row of 0 and 1"
        ) from None


def stacked(name: str, labels: list[int] | list[list[int]]) -> Tensor:
    """The labels of all images as one tensor, int64 (N,) or (N, L)."""
    try:
        return torch.tensor(labels, dtype=torch.int64)
    except (TypeError, ValueError):
        raise UserError(f"data {name}: the images have different numbers of labels") from None
