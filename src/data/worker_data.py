"""Large sets: image files that worker processes read, one by one, as they are needed."""

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from src.data.folder_transforms import evaluation_transform, folder_augmentation, training_transform
from src.data.image_data import ImageData, Statistics, located
from src.data.loaders import Batch, WorkerLoader
from src.data.pixels import Normaliser, channel_statistics
from src.data.sampling import EvaluationSampler, TrainingSampler
from src.data.splits import stratified_subset
from src.errors import UserError, check_whole

STATISTICS_IMAGES = 1024  # mean and std of a set, where the config gives none, come from so many training images


class Samples(NamedTuple):
    """Image files, and their labels, int64 (N,) or (N, L)."""

    paths: list[str]
    labels: Tensor

    def taken(self, indices: Tensor) -> "Samples":
        return Samples([self.paths[index] for index in indices.tolist()], self.labels[indices])


class ImageFiles(Dataset):
    """Item (index, seed): the image as uint8 (C, H, W) after `transform`, drawn from the seed alone; and its label."""

    def __init__(self, samples: Samples, transform: v2.Transform, channels: int):
        self.samples, self.transform = samples, transform
        self.mode = "L" if channels == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.samples.paths)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        index, seed = key
        with opened(self.samples.paths[index]) as file:
            image = file.convert(self.mode)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the GPU's generator too
            return self.transform(image), self.samples.labels[index]


@contextmanager
def opened(path: str) -> Iterator[Image.Image]:
    """An image file, open; what is wrong with it, also while it is decoded, becomes one sentence."""
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"the image {path} is gone: it was there when the run began") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's for damaged files of various formats
        raise UserError(f"the image {path} cannot be read, it is damaged ({error})") from error


MEMORY_BYTES = 2 * 2**30  # a larger validation part is read again for each candidate of a search


class WorkerData(ImageData):
    """A set of image files. A subclass says what they are: `read_train`, `read_test`, perhaps `read_val`.

    root: where they are.
    image_size: what the network sees; eval_resize: the shorter side before the centre is cut. Both are known once
    `read_train` has run, at the latest.
    augment: scale [least, most] share of the area that is cut and resized (None = as in evaluation), flip, jitter
    [brightness, contrast, saturation], randaugment, cutmix (None = none).
    num_workers: a process; None = the number of cores, 8 at most, shared by the processes of the machine.
    Validation images, carved ones too, are never augmented. `channels: null` means 3.
    """

    eval_resize: int

    def __init__(self, *, root: str, augment: dict | None = None, num_workers: int | None = None, **options):
        super().__init__(**options)
        self.root = located(root)
        self.num_workers = None if num_workers is None else check_whole("data.num_workers", num_workers, 0, 256)
        self.augment = folder_augmentation(augment)
        self._train = self._val = self._test = None

    @abstractmethod
    def read_train(self) -> tuple[Samples, Sequence[str] | None]:
        """All training images, and the names of the classes or attributes where the set has them."""

    @abstractmethod
    def read_test(self) -> Samples:
        """All test images; called by `test_dataloader` only."""

    def read_val(self) -> Samples | None:
        """The set's own validation images; None when they are to be carved from the training images."""
        return None

    def _read(self) -> tuple[int, int, int]:
        self.prepare_data()
        samples, names = self.read_train()
        self._take_classes(samples.labels, names)
        if self.augment.cutmix is not None:
            self.augment.cutmix.check(self.targets)
        own = self.read_val()
        if own is not None:
            self._check_labels(own.labels, "validation")
        training, validation = self._carve(samples.labels, own is not None)
        self.channels = self._asked_channels or 3
        self._train, self._val = samples.taken(training), own if own is not None else samples.taken(validation)
        self.train_size, self.val_size = len(self._train.paths), len(self._val.paths)
        self._take_statistics(self.channels, self._measured)
        return (self.channels, *self.image_size)

    def _measured(self) -> Statistics:
        """Mean and std of a stratified sample of the training images, as evaluation sees them."""
        labels = self._train.labels
        chosen = stratified_subset(labels, max(STATISTICS_IMAGES, self.num_classes), self.seed)
        dataset = self._images(self._train.taken(chosen))
        return channel_statistics(torch.stack([dataset[index, 0][0] for index in range(len(dataset))]))

    def _images(self, samples: Samples, training: bool = False) -> ImageFiles:
        if training:
            transform = training_transform(self.image_size, self.eval_resize, self.augment)
        else:
            transform = evaluation_transform(self.image_size, self.eval_resize)
        return ImageFiles(samples, transform, self.channels)

    def _loader(self, dataset: ImageFiles, sampler: TrainingSampler | EvaluationSampler) -> WorkerLoader:
        device = self._device()
        normaliser = Normaliser(self.mean, self.std, self.image_size, device)
        return WorkerLoader(dataset, sampler, normaliser, device, seed=self.order_seed, workers=self._workers())

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(8, cores // (self.trainer.num_devices if self.trainer is not None else 1)))

    def _training_labels(self) -> Tensor:
        return self._train.labels

    def _training_loader(self, sampler: TrainingSampler) -> WorkerLoader:
        loader = self._loader(self._images(self._train, training=True), sampler)
        return loader.mixed_by(self.augment.cutmix, self.num_classes)

    def val_dataloader(self) -> WorkerLoader:
        return self._evaluation(self._val)

    def whole_validation(self) -> Iterable[Batch]:
        """Kept in memory as float32 where they fit (1.0 GB for CelebA at 64 x 64 pixels), else read again each time."""
        loader = self._loader(self._images(self._val), EvaluationSampler(self.val_size, self.eval_batch_size))
        return _all_of(loader) if 4 * self.val_size * prod(self.input_shape) <= MEMORY_BYTES else loader

    def calibration_batches(self, images: int) -> list[Batch]:
        return _all_of(self._loader(self._images(self._train), self._calibration_sampler(images)))

    def test_dataloader(self) -> WorkerLoader:
        """The only place that lists and opens the images of the test split."""
        if self._test is None:
            self._test = self.read_test()
            self._check_labels(self._test.labels, "test")
        return self._evaluation(self._test)

    def _evaluation(self, samples: Samples) -> WorkerLoader:
        return self._loader(self._images(samples), self._evaluation_sampler(len(samples.paths)))


def _all_of(loader: WorkerLoader) -> list[Batch]:
    """All batches; no worker is left that nobody asks again."""
    batches = list(loader)
    loader.close()
    return batches
