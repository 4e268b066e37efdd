"""The base of all data modules: options and their checks, the split, the attributes that others read."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from hydra.utils import to_absolute_path
from pytorch_lightning import LightningDataModule
from torch import Tensor

from src.data.labels import KINDS, check_known, counted, label_kind
from src.data.loaders import Batch, ImageLoader
from src.data.sampling import EvaluationSampler, SubsetSampler, TrainingSampler
from src.data.splits import stratified_split, stratified_subset
from src.errors import UserError, check_text, check_whole
from src.runtime.seeds import keyed_generator, keyed_seed

LARGEST = 2**14  # pixels of a side

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class ImageData(LightningDataModule, ABC):
    """Images and their classes; batches are `(images float32 (B, C, H, W) normalised, labels int64 (B,))`.

    Where an image has several labels, they are int64 (B, L) of 0 and 1, and "classes" are the L attributes.

    After `prepare_data()` and `setup()`: `num_classes`, `channels`, `input_shape` (C, H, W), `mean` and `std` (C
    numbers, of images scaled to [0, 1]), `targets` ("class" or "attributes"), `class_names` (or None), and the sizes
    `train_size` and `val_size`.

    The validation images are carved from the training data, stratified and keyed by `seed`, unless the set brings its
    own. The test split is opened by `test_dataloader()` and by nothing else.

    Arguments, the keys of conf/data:
        name: what errors and reports call the set.
        num_classes: checked against the data; None = counted.
        channels: 1 (grey) or 3; None = as the images are.
        image_size: side, or [height, width], that the network sees; None = as the images are.
        val_fraction: share of every class of the training data, more than 0 and less than 1.
        limit: train on this many images only, stratified; None = all. Validation and test stay whole.
        batch_size, eval_batch_size: images a process.
        mean, std: per channel, or one number for all; None = computed from the training images.
        seed: of the split, the order and the augmentation.
    """

    def __init__(
        self,
        *,
        name: str,
        num_classes: int | None = None,
        channels: int | None = None,
        image_size: int | Sequence[int] | None = None,
        val_fraction: float = 0.1,
        limit: int | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.name = check_text("data.name", name)
        self.batch_size = check_whole("data.batch_size", batch_size, 1)
        self.eval_batch_size = check_whole("data.eval_batch_size", eval_batch_size, 1)
        self.seed = check_whole("data.seed", seed, 0)
        self.order_seed = self.seed  # of order and augmentation; a repeated training changes it and keeps the split
        self.limit = None if limit is None else check_whole("data.limit", limit, 1)
        self.num_classes = None if num_classes is None else check_whole("data.num_classes", num_classes, 1)
        if channels not in (None, 1, 3) or isinstance(channels, bool):
            raise UserError(f"data.channels={channels!r} is not allowed; it must be 1, 3 or null (as the images are)")
        if isinstance(val_fraction, bool) or not isinstance(val_fraction, (int, float)) or not 0 < val_fraction < 1:
            raise UserError(f"data.val_fraction={val_fraction!r} is not allowed; it must be above 0 and below 1")
        self.val_fraction = val_fraction
        self.image_size = _size(image_size)
        self.channels = self._asked_channels = channels
        self.mean = self.std = None
        self._given_statistics = _given_statistics(mean, std)
        self.input_shape: tuple[int, int, int] | None = None
        self.targets: str | None = None
        self.class_names: list[str] | None = None
        self.train_size = self.val_size = None
        self._kept: Tensor | None = None  # indices of the training images that are trained on, where some are reserved
        self._reserved: Tensor | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the training data once; every later call only looks at the trainer that is attached now."""
        if self.input_shape is None:
            self.input_shape = self._read()
        _, world = self._rank_and_world()
        if self.batch_size * world > self.train_size:
            processes = f" on each of {world} processes" if world > 1 else ""
            raise UserError(
                f"data.batch_size={self.batch_size}{processes} is not allowed; data {self.name} has {self.train_size} "
                f"training images here, so it must be at most {self.train_size // world}"
            )

    @abstractmethod
    def _read(self) -> tuple[int, int, int]:
        """Read the training data, set every attribute but `input_shape`, and return that."""

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _device(self) -> torch.device:
        """The trainer's device; the CPU without a trainer."""
        return torch.device("cpu") if self.trainer is None else torch.device(self.trainer.strategy.root_device)

    def reserve(self, fraction: float, key: str) -> None:
        """From now on training sees all but `fraction` of every class, which `reserved_dataloader()` gives.

        For a search that trains two things on images of their own. Keyed by `seed`; 0 makes the training part whole
        again. `key` is what the user gives the fraction by, for messages.
        """
        self._kept = self._reserved = None
        if fraction:
            self._kept, self._reserved = stratified_split(
                self._training_labels(), fraction, keyed_seed(self.seed, "reserved"), key, "the architecture"
            )

    def train_dataloader(self) -> ImageLoader:
        """This rank's training batches, in a new order and with new augmentation every epoch."""
        return self._training_loader(self._training_sampler(self._kept, self.order_seed))

    def reserved_dataloader(self) -> ImageLoader:
        """This rank's batches of what is reserved, augmented as in training, in an order of their own every epoch."""
        sampler = self._training_sampler(self._reserved, keyed_seed(self.order_seed, "reserved"))
        return self._training_loader(sampler)

    @abstractmethod
    def _training_labels(self) -> Tensor:
        """The labels of all training images."""

    @abstractmethod
    def _training_loader(self, sampler: TrainingSampler) -> ImageLoader:
        """Augmented batches of the training images that `sampler` names."""

    def _training_sampler(self, members: Tensor | None, seed: int) -> TrainingSampler:
        """Shuffled, except when Lightning is asked to overfit the same few batches."""
        rank, world = self._rank_and_world()
        shuffle = self.trainer is None or not self.trainer.overfit_batches
        count = self.train_size if members is None else len(members)
        return TrainingSampler(
            count, self.batch_size, seed=seed, rank=rank, world=world, shuffle=shuffle, members=members
        )

    @abstractmethod
    def whole_validation(self) -> Iterable[Batch]:
        """All validation batches, on every process alike and as often as wanted: what each evaluates by itself on."""

    @abstractmethod
    def calibration_batches(self, images: int) -> list[Batch]:
        """So many random training images, or all, without augmentation, on every process the same, in even batches."""

    def _calibration_sampler(self, images: int) -> SubsetSampler:
        order = torch.randperm(self.train_size, generator=keyed_generator(self.seed, "calibration"))
        return SubsetSampler(order[:images], self.eval_batch_size)

    def _evaluation_sampler(self, count: int) -> EvaluationSampler:
        rank, world = self._rank_and_world()
        return EvaluationSampler(count, self.eval_batch_size, rank=rank, world=world)

    def _take_classes(self, labels: Tensor, class_names: Sequence[str] | None) -> None:
        """Set `targets`, `num_classes` and `class_names` from all training labels (N,) or (N, L)."""
        count, kind = counted(self.name, labels), label_kind(labels)
        if self.num_classes not in (None, count):
            raise UserError(
                f"data.num_classes={self.num_classes} is not allowed; data {self.name} has {count} {KINDS[kind][0]}"
            )
        self.num_classes, self.targets = count, kind
        if class_names is not None and len(class_names) == count:
            self.class_names = list(map(str, class_names))

    def _check_labels(self, labels: Tensor, split: str) -> None:
        """Raises `UserError` when labels of another split are no classes of the training data."""
        check_known(self.name, labels, split, self.targets, self.num_classes)

    def _carve(self, labels: Tensor, own_validation: bool) -> tuple[Tensor, Tensor | None]:
        """Indices into the training data (training, validation); validation is None where the set brings its own."""
        training, validation = torch.arange(len(labels)), None
        if not own_validation:
            training, validation = stratified_split(labels, self.val_fraction, self.seed)
        if self.limit is not None:
            training = training[stratified_subset(labels[training], self.limit, self.seed)]
        return training, validation

    def _take_statistics(self, held: int, compute: Callable[[], Statistics]) -> None:
        """Set `mean` and `std` for `channels` channels, from the config or, of the `held` channels, from the data.

        Three numbers that the config gives say nothing about the spread of grey images; then they are computed too.
        """
        statistics = self._given_statistics
        if statistics is None or (self.channels == 1 and len(statistics[0]) == 3):
            statistics = compute()
        self.mean, self.std = (values * (self.channels // len(values)) for values in statistics)

    def __repr__(self) -> str:
        if self.input_shape is None:
            state = "not set up"
        else:
            shape = "x".join(map(str, self.input_shape))
            state = f"{self.train_size} training, {self.val_size} validation images {shape}, "
            state += f"{self.num_classes} {KINDS[self.targets][0]}"
        return f"{type(self).__name__}({self.name!r}, {state}, batch_size={self.batch_size}, seed={self.seed})"

    __str__ = __repr__  # Lightning's opens every loader, the test loader among them


def located(path: str | os.PathLike) -> Path:
    """The absolute path: `~` expanded, a relative path taken from the folder where the command was started."""
    return Path(to_absolute_path(os.path.expanduser(path)))


def _size(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width), or None."""
    if image_size is None:
        return None
    several = isinstance(image_size, Sequence) and not isinstance(image_size, str)
    sides = list(image_size) if several else [image_size] * 2
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= LARGEST for side in sides):
        raise UserError(
            f"data.image_size={image_size!r} is not allowed; it must be a number of pixels, [height, width], or null "
            f"(as the images are), and no side longer than {LARGEST}"
        )
    return tuple(sides)


def _given_statistics(mean: float | Sequence[float] | None, std: float | Sequence[float] | None) -> Statistics | None:
    """(mean, std) as tuples of 1 or 3 floats, or None when neither is given."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UserError("data.mean and data.std must be given both or neither (null)")
    values = [tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else (v,) for v in (mean, std)]
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for part in values for x in part)
    counts = [len(part) for part in values]
    means, deviations = values
    possible = numbers and all(0 <= x <= 1 for x in means) and all(0 < x <= 1 for x in deviations)
    if counts not in ([1, 1], [3, 3]) or not possible:
        raise UserError(
            f"data.mean={mean!r} with data.std={std!r} is not allowed; both must be one number, or one for each of 3 "
            "channels, of images scaled to [0, 1]: the mean from 0 to 1, std more than 0 and at most 1"
        )
    return tuple(tuple(float(x) for x in part) for part in values)
