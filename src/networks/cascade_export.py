"""A cascade as one graph without Python's control flow, as torch.export and ONNX need it.

Three ways to write a later stage down, from what saves most to what any exporter can express:

    images   a branch (torch.cond) that gives the member the undecided images only; passed by where there are none
    batch    a branch that gives the member the whole batch; passed by where no image is undecided
    all      no branch: every member sees every image, and the rule chooses among the means

All compute what the cascade computes. With one image at a time the first two are the same: it leaves early or not.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from src.networks.cascade_rule import half_softmax, log_means, mean, undecided

if TYPE_CHECKING:
    from src.networks.cascade import Cascade

ROUTES = ("images", "batch", "all")
ROUTES_TOLD = {
    "images": "runs each member for the images that are undecided",
    "batch": "runs a member for all images of a batch where one of them is undecided: give it one image at a time",
    "all": "runs every member of the cascade for every image, as its format cannot express a branch of one of them",
}
MARGIN = 2.0**-9  # two steps of half precision just below 1, where they are widest


def exportable_forward(cascade: "Cascade", images: Tensor, route: str) -> Tensor:
    """log q (B, classes) of images (B, C, H, W), by one of `ROUTES`."""
    total = half_softmax(cascade.members[0](images)).double()
    answers = mean(total, 1)
    open_ = torch.ones_like(answers[:, 0], dtype=torch.bool)
    stages = zip(cascade.members[1:], cascade.thresholds, strict=True)
    for count, (member, threshold) in enumerate(stages, start=2):
        open_ = open_ & undecided(answers, threshold)  # of an open image `answers` holds the mean of this stage
        total = _stage(member, total, images, open_, route)
        answers = torch.where(open_[:, None], mean(total, count), answers)
    return log_means(answers)


def _stage(member: nn.Module, total: Tensor, images: Tensor, open_: Tensor, route: str) -> Tensor:
    """`total` plus the member's p, for the images that are open at least."""

    def of_some(total: Tensor, images: Tensor, open_: Tensor) -> Tensor:
        rows = open_.nonzero()[:, 0]
        torch._check(rows.shape[0] >= 1)  # the branch is taken for one image at least: exporters ask
        return total.index_add(0, rows, half_softmax(member(images[rows])).double())

    def of_all(total: Tensor, images: Tensor, open_: Tensor) -> Tensor:
        return total + half_softmax(member(images)).double()

    def passed_by(total: Tensor, images: Tensor, open_: Tensor) -> Tensor:
        return total.clone()

    if route == "all":
        return of_all(total, images, open_)
    taken = of_some if route == "images" else of_all
    return torch.cond(open_.any(), taken, passed_by, (total, images, open_))


def set_route(network: nn.Module, route: str | None) -> None:
    """Makes the cascades in `network` compute by this route from now on; None: as they do otherwise."""
    for module in network.modules():
        if hasattr(module, "export_route"):
            module.export_route = route


@torch.no_grad()
def agrees(cascade: "Cascade", images: Tensor, found: Tensor) -> Tensor:
    """Which of the log means `found` (B, classes) are the cascade's, up to rounding: booleans (B,).

    Other kernels round other last bits, half precision makes a step of 2^-11 of that, and where max q is as near as
    that to a threshold the image may leave one stage earlier or later.
    """
    total, right = 0, torch.zeros(len(images), dtype=torch.bool)
    reachable = ~right
    thresholds = [*cascade.thresholds, -1.0]  # all leave at the end
    for count, (member, threshold) in enumerate(zip(cascade.members, thresholds, strict=True), start=1):
        total = total + half_softmax(member(images)).double()
        q = mean(total, count)
        near = (found.exp() - q).abs().amax(1) <= MARGIN
        right |= reachable & near & (q.amax(1) > threshold - MARGIN)
        reachable = reachable & (q.amax(1) <= threshold + MARGIN)
    return right
