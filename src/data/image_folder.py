"""Folders of images, ImageNet's layout: <root>/train/<class>/*, <root>/val/<class>/*; read by worker processes."""

import os
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from src.data.image_data import LARGEST
from src.data.worker_data import Samples, WorkerData
from src.errors import UserError, check_whole

EVALUATED = ("val", "test")
LAYOUT = "data.root must hold train/<class>/ and val/<class>/ or test/<class>/, with the images in them"


class ImageFolderData(WorkerData):
    """A folder for each class, JPEG, PNG and the other formats of torchvision's ImageFolder.

    root: has the folder `train`, and `val` or `test`, which is the test split. With both, `val` is the validation split
    (nothing is carved from `train`) and `test` the test split; a `test` without class folders (ImageNet's) is not used.
    eval_resize: None = image_size / 0.875. What else there is to set stands in `WorkerData`.
    """

    def __init__(self, *, eval_resize: int | None = None, **options):
        super().__init__(**options)
        if self.image_size is None:
            raise UserError(f"data {self.name} needs data.image_size: images in folders differ in size")
        shortest = round(max(self.image_size) / 0.875) if eval_resize is None else eval_resize
        self.eval_resize = check_whole("data.eval_resize", shortest, max(self.image_size), 2 * LARGEST)

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

    def read_train(self) -> tuple[Samples, list[str]]:
        names = _classes(self.root / "train")
        return _samples(self.root / "train", names), names

    def read_val(self) -> Samples | None:
        folder = self._evaluation_folders().get("val")
        return None if folder is None else _samples(folder, _classes(self.root / "train"))

    def read_test(self) -> Samples:
        return _samples(self._evaluation_folders()["test"], _classes(self.root / "train"))


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
    found = make_dataset(folder, {name: k for k, name in enumerate(names)}, IMG_EXTENSIONS, allow_empty=True)
    empty = sorted(set(range(len(names))) - {label for _, label in found})
    if empty:
        raise UserError(
            f"{folder / names[empty[0]]} has no image; allowed are files that end in {', '.join(IMG_EXTENSIONS)}"
        )
    return Samples([path for path, _ in found], torch.tensor([label for _, label in found]))
