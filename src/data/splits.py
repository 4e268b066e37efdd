"""Stratified splits: each class gives its share, and the same seed gives the same images."""

import torch
from torch import Tensor

from src.errors import UserError
from src.runtime.seeds import keyed_generator


def apportioned(sizes: Tensor, total: int) -> Tensor:
    """Whole numbers (K,) in proportion to `sizes` (K,) with the sum `total`: largest remainders, ties to the first."""
    shares = sizes.double() * total / sizes.sum()
    parts = shares.floor().long()
    left = total - int(parts.sum())
    parts[(parts - shares).argsort(stable=True)[:left]] += 1
    return parts


def stratified_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (rest, part) into `labels` (N,), both sorted, where `part` holds `fraction` of every class.

    Raises `UserError` when a class would have no image on one of the two sides.
    """
    sizes = torch.bincount(labels)
    take = apportioned(sizes, round(len(labels) * fraction))
    if bool((take == 0).any()) or bool((take == sizes).any()):
        label = int(torch.where((take == 0) | (take == sizes))[0][0])
        side = "validation" if take[label] == 0 else "training"
        raise UserError(
            f"data.val_fraction={fraction} leaves class {label}, which has {int(sizes[label])} images, without a "
            f"{side} image; it must leave every class at least one image on both sides"
        )
    part = _taken(labels, take, seed, "split")
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[part] = False
    return rest.nonzero().flatten(), part


def stratified_subset(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` of the labels (N,), each class in proportion and with one image at least.

    `count` of N or more takes all. Raises `UserError` when `count` is smaller than the number of classes.
    """
    sizes = torch.bincount(labels)
    if count < len(sizes):
        raise UserError(f"data.limit={count} is not allowed; it must be at least the number of classes, {len(sizes)}")
    if count >= len(labels):
        return torch.arange(len(labels))
    take = 1 + apportioned(sizes - 1, count - len(sizes))
    return _taken(labels, take, seed, "subset")


def _taken(labels: Tensor, take: Tensor, seed: int, purpose: str) -> Tensor:
    """Sorted indices of `take[k]` random images of each class k."""
    chosen = []
    for label, count in enumerate(take.tolist()):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=keyed_generator(seed, purpose, label))
        chosen.append(members[order[:count]])
    return torch.cat(chosen).sort().values
