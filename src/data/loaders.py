"""Loaders that Lightning can drive, resume and shard without a wrapper of its own.

Lightning creates a loader's iterator before it tells `loader.sampler` the epoch, and keeps it when a run is resumed; a
plain DataLoader with workers would then serve the first epoch's order. Here `__iter__` is a generator: nothing is drawn
before the first batch is asked for. `state_dict` makes a checkpoint from the middle of an epoch go on with the batch
after the last one that was trained on.
"""

import atexit
import signal
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.data.augmentation import Augmentation
from src.data.cutmix import CutMix
from src.data.pixels import Normaliser
from src.data.sampling import EvaluationSampler, TrainingSampler
from src.errors import UserError
from src.runtime.seeds import keyed_generator, keyed_seed

Batch = tuple[Tensor, Tensor]


class ImageLoader(ABC):
    """Base: batches `(images float32 (B, C, H, W), labels int64 (B,) or (B, L))` of one rank, in sampler's order.

    After `mixed_by` the images of each batch are mixed, and labels are shares of the classes, float32 (B, C).
    """

    batch_sampler = None  # Lightning asks for it wherever there is a `sampler`

    def __init__(self, sampler: TrainingSampler | EvaluationSampler):
        self.sampler = sampler
        self.batch_size = sampler.batch_size
        self._at = {"epoch": 0, "step": 0}
        self._resume_at: dict[str, int] | None = None
        self._cutmix: tuple[CutMix, int] | None = None

    def mixed_by(self, cutmix: CutMix | None, num_classes: int) -> "ImageLoader":
        """Mixes the images of each batch from now on; each rank those of its own, by draws of its own."""
        self._cutmix = None if cutmix is None else (cutmix, num_classes)
        return self

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        resume_at, self._resume_at = self._resume_at, None
        epoch = self.sampler.epoch
        start = resume_at["step"] if resume_at is not None and resume_at["epoch"] == epoch else 0
        self._at = {"epoch": epoch, "step": start}
        for batch in self._batches(start):
            if self._cutmix is not None:
                cutmix, classes = self._cutmix
                seed = keyed_seed(self.sampler.seed, "cutmix", epoch, self._at["step"], self.sampler.rank)
                batch = cutmix(*batch, classes, seed)
            self._at["step"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch being read and how many of its batches have been handed out."""
        return dict(self._at)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass, if it is over the same epoch, starts after the batches that were handed out."""
        self._resume_at = dict(state)

    @abstractmethod
    def _batches(self, start: int) -> Iterator[Batch]:
        """The current epoch's batches from number `start` on."""


class TensorLoader(ImageLoader):
    """Batches of a set held as uint8 tensor (N, C, H, W), augmented as a whole on `device`."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        sampler: TrainingSampler | EvaluationSampler,
        normaliser: Normaliser,
        device: torch.device,
        augmentation: Augmentation | None = None,
    ):
        super().__init__(sampler)
        self.images, self.labels, self.device = images, labels, device
        self.normaliser, self.augmentation = normaliser, augmentation

    def _batches(self, start: int) -> Iterator[Batch]:
        for step, indices in islice(enumerate(self.sampler.batches()), start, None):
            indices = indices.to(self.images.device)
            images = self.images.index_select(0, indices).to(self.device, non_blocking=True)
            labels = self.labels.index_select(0, indices).to(self.device, non_blocking=True)
            yield self._augmented(images, step), labels

    def _augmented(self, images: Tensor, step: int) -> Tensor:
        """Normalised images, moved and cut out as drawn for (seed, epoch, step) of the whole job, this rank's part."""
        if self.augmentation is None:
            return self.normaliser(images)
        sampler = self.sampler
        generator = keyed_generator(sampler.seed, "augment", sampler.epoch, step)
        draws = self.augmentation.draw(sampler.whole_batch(len(images)), *images.shape[-2:], generator)
        draws = draws.of_rank(sampler.rank, sampler.world)
        visible = self.augmentation.visible(images, draws)
        return self.normaliser(self.augmentation.move(images, draws), visible)


class _KeyedBatches:
    """Batch sampler of a DataLoader: each item is (image index, seed of its random transforms).

    The seed depends on (seed, epoch, image) only: neither the number of workers nor of ranks changes an image.
    """

    def __init__(self, sampler: TrainingSampler | EvaluationSampler, seed: int):
        self.sampler, self.seed, self.start = sampler, seed, 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.sampler.epoch
        for indices in self.sampler.batches()[self.start :]:
            yield [(index, keyed_seed(self.seed, "transform", epoch, index)) for index in indices.tolist()]


class WorkerLoader(ImageLoader):
    """Batches of `dataset`, read by worker processes; its item (index, seed) is (uint8 (C, H, W), label)."""

    def __init__(
        self,
        dataset: Dataset,
        sampler: TrainingSampler | EvaluationSampler,
        normaliser: Normaliser,
        device: torch.device,
        *,
        seed: int,
        workers: int,
    ):
        super().__init__(sampler)
        self.normaliser, self.device = normaliser, device
        self._keyed = _KeyedBatches(sampler, seed)
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._keyed,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            worker_init_fn=_leave_signals_to_parent if workers else None,
            generator=keyed_generator(seed, "workers"),  # otherwise each pass would draw from the global generator
        )

    @property
    def _iterator(self) -> Iterator | None:
        """What Lightning looks for in a loader, to end its workers and forget their iterator when a fit ends."""
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, value: None) -> None:
        self._loader._iterator = value

    def close(self) -> None:
        """End the worker processes; the next pass starts new ones."""
        if self._iterator is not None:
            self._iterator._shutdown_workers()
            self._iterator = None

    def _batches(self, start: int) -> Iterator[Batch]:
        self._keyed.start = start
        starting = self._iterator is None
        batches = iter(self._loader)
        if starting and self._iterator is not None:
            # At exit torch's hook, of just now, waits 5 seconds for each worker that nobody has ended; ours runs first.
            atexit.register(_close, weakref.ref(self))
        try:
            for images, labels in batches:
                images = images.to(self.device, non_blocking=True)
                yield self.normaliser(images), labels.to(self.device, non_blocking=True)
        except UserError as error:  # from a worker its text is a whole trace, of which the last line is the sentence
            self.close()
            raise UserError(str(error).strip().splitlines()[-1].split("UserError: ", 1)[-1]) from None


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and a batch system's SIGTERM reach every process; the run needs its workers to come to a good end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _close(loader: "weakref.ref[WorkerLoader]") -> None:
    alive = loader()
    if alive is not None:
        alive.close()
