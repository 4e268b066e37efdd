"""Folders of images, ImageNet's layout: <root>/train/<class>/*, <root>/val/<class>/*; read by worker processes."""

import os
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset
from torchvision.transforms import v2

from src.data.folder_transforms import evaluation_transform, folder_augmentation, training_transform
from src.data.image_data import LARGEST, ImageData, Statistics, located
from src.data.loaders import WorkerLoader
from src.data.pixels import Normaliser, channel_statistics
from src.data.sampling import EvaluationSampler, TrainingSampler
from src.data.splits import stratified_subset
from src.errors import UserError, check_whole

STATISTICS_IMAGES = 1024  # mean and std of a folder, where the config gives none, come from so many training images
EVALUATED = ("val", "test")
LAYOUT = "data.root must hold train/<class>/ and val/<class>/ or test/<class>/, with the images in them"

Samples = list[tuple[str, int]]


class FolderImages(Dataset):
    """Item (index, seed): the image as uint8 (C, H, W) after `transform`, drawn from the seed alone; and its label."""

    def __init__(self, samples: Samples, transform: v2.Transform, channels: int):
        self.samples, self.transform = samples, transform
        self.mode = "L" if channels == 1 else "RGB"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        index, seed = key
        path, label = self.samples[index]
        try:
            with Image.open(path) as file:
                image = file.convert(self.mode)
        except FileNotFoundError as error:
            raise UserError(f"the image {path} is gone: it was there when the run began") from error
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's for damaged files of various formats
            raise UserError(f"the image {path} cannot be read, it is damaged ({error})") from error
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the GPU's generator too
            return self.transform(image), label


class ImageFolderData(ImageData):
    """A folder for each class, JPEG, PNG and the other formats of torchvision's ImageFolder.

    root: has the folder `train`, and `val` or `test`, which is the test split. With both, `val` is the validation split
    (nothing is carved from `train`) and `test` the test split; a `test` without class folders (ImageNet's) is not used.
    image_size: what the network sees; eval_resize: the shorter side before the centre is cut (None = size / 0.875).
    augment: scale [least, most] share of the area that is cut and resized (None = as in evaluation), flip, jitter
    [brightness, contrast, saturation] (None = none).
    num_workers: a process; None = the number of cores, 8 at most, shared by the processes of the machine.
    Validation images, carved ones too, are never augmented. `channels: null` means 3.
    """

    def __init__(
        self,
        *,
        root: str,
        augment: dict | None = None,
        eval_resize: int | None = None,
        num_workers: int | None = None,
        **options,
    ):
        super().__init__(**options)
        self.root = located(root)
        if self.image_size is None:
            raise UserError(f"data {self.name} needs data.image_size: images in folders differ in size")
        shortest = round(max(self.image_size) / 0.875) if eval_resize is None else eval_resize
        self.eval_resize = check_whole("data.eval_resize", shortest, max(self.image_size), 2 * LARGEST)
        self.num_workers = None if num_workers is None else check_whole("data.num_workers", num_workers, 0, 256)
        self.augment = folder_augmentation(augment)
        self._train = self._val = self._test = None

    def prepare_data(self) -> None:
        """Check that the folders are there and have the same classes. Looks at names only."""
        classes = _classes(self.root / "train")
        for split in self._evaluation_folders().values():
            other = _classes(split)
            if other != classes:
                name = min(set(other) ^ set(classes))
                has, lacks = ("train", split.name) if name in classes else (split.name, "train")
                raise UserError(
                    f"data {self.name}: {self.root / has} has the class folder {name}, {self.root / lacks} has not; "
                    "both must have the same classes"
                )

    def _evaluation_folders(self) -> dict[str, Path]:
        """The folder of the test split, and that of the validation split where there are both."""
        found = [self.root / name for name in EVALUATED if (self.root / name).is_dir()]
        labelled = [folder for folder in found if _class_names(folder)]
        if not labelled:
            looked = found[0] if found else self.root / EVALUATED[0]
            raise UserError(
                f"data {self.name}: {looked} {'has no class folders' if found else 'does not exist'}; {LAYOUT}"
            )
        return {"test": labelled[-1], **({"val": labelled[0]} if len(labelled) > 1 else {})}

    def _read(self) -> tuple[int, int, int]:
        self.prepare_data()
        names = _classes(self.root / "train")
        samples = _samples(self.root / "train", names)
        labels = torch.tensor([label for _, label in samples])
        self._take_classes(labels, names)
        folders = self._evaluation_folders()
        training, validation = self._carve(labels, "val" in folders)
        self.channels = self._asked_channels or 3
        self._train = [samples[index] for index in training.tolist()]
        self._val = (
            _samples(folders["val"], names) if validation is None else [samples[index] for index in validation.tolist()]
        )
        self.train_size, self.val_size = len(self._train), len(self._val)
        self._take_statistics(self.channels, self._measured)
        return (self.channels, *self.image_size)

    def _measured(self) -> Statistics:
        """Mean and std of a stratified sample of the training images, as evaluation sees them."""
        labels = torch.tensor([label for _, label in self._train])
        chosen = stratified_subset(labels, max(STATISTICS_IMAGES, self.num_classes), self.seed).tolist()
        dataset = self._images([self._train[index] for index in chosen])
        keys = [(index, 0) for index in range(len(dataset))]
        return channel_statistics(torch.cat([dataset[key][0][None] for key in keys]))

    def _images(self, samples: Samples, training: bool = False) -> FolderImages:
        if training:
            transform = training_transform(self.image_size, self.eval_resize, self.augment)
        else:
            transform = evaluation_transform(self.image_size, self.eval_resize)
        return FolderImages(samples, transform, self.channels)

    def _loader(self, dataset: FolderImages, sampler: TrainingSampler | EvaluationSampler) -> WorkerLoader:
        device = self._device()
        normaliser = Normaliser(self.mean, self.std, self.image_size, device)
        return WorkerLoader(dataset, sampler, normaliser, device, seed=self.order_seed, workers=self._workers())

    def _workers(self) -> int:
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(8, cores // (self.trainer.num_devices if self.trainer is not None else 1)))

    def train_dataloader(self) -> WorkerLoader:
        """This rank's training batches, in a new order and with new augmentation every epoch."""
        return self._loader(self._images(self._train, training=True), self._training_sampler())

    def val_dataloader(self) -> WorkerLoader:
        return self._evaluation(self._val)

    def test_dataloader(self) -> WorkerLoader:
        """The only place that lists and opens the images of the test split."""
        if self._test is None:
            self._test = _samples(self._evaluation_folders()["test"], _classes(self.root / "train"))
        return self._evaluation(self._test)

    def _evaluation(self, samples: Samples) -> WorkerLoader:
        return self._loader(self._images(samples), self._evaluation_sampler(len(samples)))


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _classes(folder: Path) -> list[str]:
    """Names of the class folders, sorted. Raises `UserError` when there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; {LAYOUT}")
    names = _class_names(folder)
    if not names:
        raise UserError(f"{folder} has no class folders; {LAYOUT}")
    return names


def _samples(folder: Path, names: list[str]) -> Samples:
    """(file, class) of every image, sorted. Raises `UserError` when a class has none."""
    samples = make_dataset(folder, {name: k for k, name in enumerate(names)}, IMG_EXTENSIONS, allow_empty=True)
    empty = sorted(set(range(len(names))) - {label for _, label in samples})
    if empty:
        raise UserError(
            f"{folder / names[empty[0]]} has no image; allowed are files that end in {', '.join(IMG_EXTENSIONS)}"
        )
    return samples
