"""Stratified splits: each class gives its share, and the same seed gives the same images.

Where an image has several labels, rows that are alike are strata (`drawn_by_attributes`): one image is drawn from each,
so that the share of an attribute strays less than in a plain random draw, and there is no loop over images.
"""

import numpy as np
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


def stratified_split(
    labels: Tensor, fraction: float, seed: int, key: str = "data.val_fraction", part_name: str = "validation"
) -> tuple[Tensor, Tensor]:
    """Indices (rest, part) into `labels` (N,), both sorted, where `part` holds `fraction` of every class.

    Of labels (N, L) it holds about that share of every attribute; a rare one may be absent from it. `key` is what the
    user gives the fraction by, and `part_name` is what the part is for: so that a message can say it.

    Raises `UserError` when a class would have no image on one of the two sides, or an attribute would be the same on
    all images of the rest.
    """
    if labels.ndim == 2:
        return _split_by_attributes(labels, fraction, seed, key, part_name)
    sizes = torch.bincount(labels)
    take = apportioned(sizes, round(len(labels) * fraction))
    if bool((take == 0).any()) or bool((take == sizes).any()):
        label = int(torch.where((take == 0) | (take == sizes))[0][0])
        side = part_name if take[label] == 0 else "training"
        raise UserError(
            f"{key}={fraction} leaves class {label}, which has {int(sizes[label])} images, without an "
            f"image for {side}; it must leave every class at least one image on both sides"
        )
    part = _taken(labels, take, seed, "split")
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[part] = False
    return rest.nonzero().flatten(), part


def stratified_subset(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` of the labels (N,), each class in proportion and with one image at least.

    Of labels (N, L) each attribute about in proportion. `count` of N or more takes all. Raises `UserError` when `count`
    is smaller than the number of classes.
    """
    if labels.ndim == 2:
        return drawn_by_attributes(labels, count, seed, "subset") if count < len(labels) else torch.arange(len(labels))
    sizes = torch.bincount(labels)
    if count < len(sizes):
        raise UserError(f"data.limit={count} is not allowed; it must be at least the number of classes, {len(sizes)}")
    if count >= len(labels):
        return torch.arange(len(labels))
    take = 1 + apportioned(sizes - 1, count - len(sizes))
    return _taken(labels, take, seed, "subset")


def drawn_by_attributes(labels: Tensor, count: int, seed: int, purpose: str) -> Tensor:
    """Sorted indices of `count` of the rows of `labels` (N, L), 0 and 1, with about the shares of all N.

    The rows are put into an order in which neighbours are alike, equal rows at random; it is cut into strata of about
    equal size, and one row is drawn from each. Where more than half is to be drawn, what is left out is drawn so.
    """
    whole = len(labels)
    if 2 * count > whole:
        left_out = drawn_by_attributes(labels, whole - count, seed, purpose)
        kept = torch.ones(whole, dtype=torch.bool)
        kept[left_out] = False
        return kept.nonzero().flatten()
    generator = keyed_generator(seed, purpose)
    order = torch.randperm(whole, generator=generator)
    order = order[_alike(labels[order])]
    borders = torch.arange(count + 1) * whole // max(count, 1)
    places = borders[:-1] + (torch.rand(count, generator=generator) * borders.diff()).long()
    return order[places].sort().values


def _alike(labels: Tensor) -> Tensor:
    """The order (N,) of the rows of `labels` (N, L) in a Gray code, rarest attribute first; equal rows stay in order.

    In the order of plain binary numbers the next attribute would jump from 1 to 0 wherever the one before it changes;
    the Gray code's cumulative parity turns every other block round, which halves the number of borders.
    """
    present = labels.bool().sum(dim=0)
    rarest = torch.minimum(present, len(labels) - present).argsort(stable=True)
    parity = labels[:, rarest].cumsum(dim=1) % 2
    return torch.from_numpy(np.lexsort(parity.flip(1).T.numpy()))


def _split_by_attributes(labels: Tensor, fraction: float, seed: int, key: str, part_name: str) -> tuple[Tensor, Tensor]:
    part = drawn_by_attributes(labels, round(len(labels) * fraction), seed, "split")
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[part] = False
    kept = labels[rest]
    if not 0 < len(part) < len(labels) or bool((kept == kept[0]).all(dim=0).any()):
        lost = "no image at all" if not 0 < len(part) < len(labels) else "an attribute that is the same on all images"
        side = part_name if not len(part) else "training"
        raise UserError(f"{key}={fraction} leaves {lost} on the {side} side of {len(labels)} images")
    return rest.nonzero().flatten(), part


def _taken(labels: Tensor, take: Tensor, seed: int, purpose: str) -> Tensor:
    """Sorted indices of `take[k]` random images of each class k."""
    chosen = []
    for label, count in enumerate(take.tolist()):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=keyed_generator(seed, purpose, label))
        chosen.append(members[order[:count]])
    return torch.cat(chosen).sort().values
