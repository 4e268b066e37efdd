"""Which images make up which batch, on each process, as a function of (seed, epoch, rank, world).

Training: one order for all processes; step s of the whole job is a slice of it, and each rank takes every world-th
image of that slice. So two processes with 32 images each see, together, the batches of one process with 64. The order
is filled up from its own start to a multiple of the world size: all ranks have equally many batches of equal sizes.

Evaluation: every image once, in the data set's order (rank r has images r, r + world, ...), and equally many batches on
all ranks, because a forward pass under DDP is a collective. A rank that would be one batch short cuts one image off its
last batch. Only where there is nothing to cut (batches of one image, or fewer images than ranks) is an image repeated.
"""

from math import ceil

import torch
from torch import Tensor

from src.runtime.seeds import keyed_generator


class TrainingSampler:
    """A new order every epoch. `set_epoch` is what Lightning calls before each epoch.

    A last batch of a single image is left out (unless `batch_size` is 1): batch norm cannot train on it.
    `members`: indices (count,) of the images that there are to draw from; None: 0 to count - 1.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        members: Tensor | None = None,
    ):
        self.count, self.batch_size, self.members = count, batch_size, members
        self.seed, self.rank, self.world, self.shuffle = seed, rank, world, shuffle
        self.epoch = 0
        own = ceil(count / world)
        single = own % batch_size == 1 and own > batch_size > 1
        self.steps = own // batch_size + (own % batch_size > 0 and not single)

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        self.epoch = int(epoch)

    def batches(self) -> list[Tensor]:
        """The image indices of each of this rank's batches in the current epoch, int64 (B,) each."""
        if self.shuffle:
            order = torch.randperm(self.count, generator=keyed_generator(self.seed, "order", self.epoch))
        else:
            order = torch.arange(self.count)
        order = order if self.members is None else self.members[order]
        order = torch.cat([order, order[: -self.count % self.world]])
        return [whole[self.rank :: self.world] for whole in order.split(self.batch_size * self.world)][: self.steps]

    def whole_batch(self, own: int) -> int:
        """How many images all ranks together have in the step in which each has `own`."""
        return own * self.world


class EvaluationSampler:
    """The data set's own order, every image once; see the top of this file for what happens under DDP."""

    epoch = 0

    def __init__(self, count: int, batch_size: int, *, rank: int = 0, world: int = 1):
        self.count, self.batch_size, self.rank, self.world = count, batch_size, rank, world

    def __len__(self) -> int:
        return ceil(ceil(self.count / self.world) / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it; the order stays."""

    def batches(self) -> list[Tensor]:
        """The image indices of each of this rank's batches, int64 (B,) each."""
        own = torch.arange(self.count)[self.rank :: self.world]
        batches = list(own.split(self.batch_size)) if len(own) else []
        if len(batches) < len(self):
            if batches and len(batches[-1]) > 1:
                batches[-1:] = [batches[-1][:-1], batches[-1][-1:]]
            else:
                batches.append(torch.tensor([self.rank % self.count]))
        return batches


class SubsetSampler:
    """The images with the indices (N,), in that order, in batches that differ by one image at most."""

    epoch = 0

    def __init__(self, indices: Tensor, batch_size: int):
        self.indices, self.batch_size = indices, batch_size

    def __len__(self) -> int:
        return ceil(len(self.indices) / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """The order stays."""

    def batches(self) -> list[Tensor]:
        """The image indices of each batch, int64 (B,) each: even ones, as each counts alike in a mean over them."""
        return list(self.indices.tensor_split(len(self)))
