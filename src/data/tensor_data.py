"""Small sets: the images stay in memory as one uint8 tensor, on the GPU where there is one."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.data.augmentation import Augmentation
from src.data.image_data import ImageData
from src.data.loaders import Batch, TensorLoader
from src.data.pixels import Normaliser, channel_statistics, grey, resized
from src.data.sampling import EvaluationSampler, TrainingSampler

DEVICE_BYTES = 4 * 2**30  # a larger part stays in main memory and is sent to the GPU batch by batch


class LabelledImages(NamedTuple):
    """images: uint8 (N, C, H, W) with C = 1 or 3; labels: int64 (N,), or (N, L) of 0 and 1."""

    images: Tensor
    labels: Tensor

    def nbytes(self) -> int:
        return self.images.numel() + 8 * self.labels.numel()


class TensorData(ImageData):
    """A set that fits into memory. A subclass says how it is read: `read_train`, `read_test`, perhaps `read_val`.

    Images larger than `image_size` are shrunk once, when they are read. Smaller ones are held as they are and enlarged
    batch by batch, after augmentation. `augment` (crop, cutout) is in pixels of the held images.
    """

    def __init__(self, *, augment: dict | None = None, **options):
        super().__init__(**options)
        self.augmentation = Augmentation.from_options(augment)
        self._train = self._val = self._test = None

    @abstractmethod
    def read_train(self) -> tuple[LabelledImages, Sequence[str] | None]:
        """All training images, and the names of the classes where the set has them."""

    @abstractmethod
    def read_test(self) -> LabelledImages:
        """All test images; called by `test_dataloader` only."""

    def read_val(self) -> LabelledImages | None:
        """The set's own validation images; None when they are to be carved from the training images."""
        return None

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self._train, self._val = self._placed(self._train), self._placed(self._val)

    def _read(self) -> tuple[int, int, int]:
        (images, labels), class_names = self.read_train()
        self._take_classes(labels, class_names)
        own = self.read_val()
        if own is not None:
            self._check_labels(own.labels, "validation")
        training, validation = self._carve(labels, own is not None)
        source_channels = images.shape[1]
        self.channels = self._asked_channels or source_channels
        self._train = self._held(LabelledImages(images[training], labels[training]))
        self._val = self._held(own if own is not None else LabelledImages(images[validation], labels[validation]))
        self.train_size, self.val_size = len(self._train.labels), len(self._val.labels)
        size = tuple(self._train.images.shape[-2:])
        if self.augmentation is not None:
            self.augmentation.check(*size, self.targets)
        held = self._train.images
        self._take_statistics(held.shape[1], lambda: channel_statistics(held))
        return (self.channels, *(self.image_size or size))

    def _held(self, part: LabelledImages) -> LabelledImages:
        """As it is kept in memory: grey where one channel is asked for, shrunk but not enlarged."""
        images = part.images
        if self.channels == 1 and images.shape[1] == 3:
            images = grey(images)
        height, width = images.shape[-2:]
        if self.image_size is not None and self.image_size[0] * self.image_size[1] < height * width:
            images = resized(images, self.image_size)
        return LabelledImages(images.contiguous(), part.labels)

    def _placed(self, part: LabelledImages) -> LabelledImages:
        """On the trainer's device, if that is a GPU with room for it."""
        device = self._device() if part.nbytes() <= DEVICE_BYTES else torch.device("cpu")
        return LabelledImages(part.images.to(device), part.labels.to(device))

    def _normaliser(self) -> Normaliser:
        return Normaliser(self.mean, self.std, self.input_shape[1:], self._device())

    def _training_labels(self) -> Tensor:
        return self._train.labels.cpu()

    def _training_loader(self, sampler: TrainingSampler) -> TensorLoader:
        augmentation = self.augmentation
        loader = TensorLoader(*self._train, sampler, self._normaliser(), self._device(), augmentation)
        return loader.mixed_by(augmentation.cutmix if augmentation else None, self.num_classes)

    def val_dataloader(self) -> TensorLoader:
        return self._evaluation(self._val)

    def whole_validation(self) -> list[Batch]:
        sampler = EvaluationSampler(self.val_size, self.eval_batch_size)
        return list(TensorLoader(*self._val, sampler, self._normaliser(), self._device()))

    def calibration_batches(self, images: int) -> list[Batch]:
        sampler = self._calibration_sampler(images)
        return list(TensorLoader(*self._train, sampler, self._normaliser(), self._device()))

    def test_dataloader(self) -> TensorLoader:
        """The only place that opens the test split."""
        if self._test is None:
            test = self.read_test()
            self._check_labels(test.labels, "test")
            self._test = self._held(test)
        self._test = self._placed(self._test)
        return self._evaluation(self._test)

    def _evaluation(self, part: LabelledImages) -> TensorLoader:
        return TensorLoader(*part, self._evaluation_sampler(len(part.labels)), self._normaliser(), self._device())
