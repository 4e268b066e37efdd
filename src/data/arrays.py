"""One .npz file: `train_x, train_y, test_x, test_y`, and `val_x, val_y` if it has them."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from src.data.image_data import located
from src.data.tensor_data import LabelledImages, TensorData
from src.errors import UserError, did_you_mean


class Header(NamedTuple):
    """What an array's header says; read without reading the array."""

    shape: tuple[int, ...]
    dtype: np.dtype


class ArraysData(TensorData):
    """Images uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3; labels of any integer type (N,), from 0 on.

    For several labels an image, labels are 0 and 1 of any integer type or bool, (N, L) with L = 2 or more.

    Four axes are (N, H, W, C) when the last one is 1 or 3 long and the second is not, and (N, C, H, W) when it is the
    other way round; anything else is an error. With `val_x, val_y` nothing is carved from the training images.
    """

    def __init__(self, *, path: str | None = None, **options):
        super().__init__(**options)
        if not path:
            raise UserError(
                f"data {self.name} needs data.path=<file>.npz, with arrays train_x, train_y, test_x, test_y"
            )
        self.path = located(path)

    def prepare_data(self) -> None:
        """Check every array's header, the test arrays' too, so that a long search does not end at a bad file."""
        headers = _headers(self.path)
        splits = ["train", "test"] + ["val"] * any(key in headers for key in ("val_x", "val_y"))
        for key in (f"{split}_{part}" for split in splits for part in "xy"):
            if key not in headers:
                raise UserError(f"{self.path} has no array {key}; it has {', '.join(sorted(headers)) or 'none'}")
        unknown = sorted(set(headers) - {f"{split}_{part}" for split in ("train", "val", "test") for part in "xy"})
        if unknown:
            raise UserError(
                f"{self.path}: the array {unknown[0]} is not known; "
                + did_you_mean(unknown[0], ["train_x", "train_y", "val_x", "val_y", "test_x", "test_y"])
            )
        shapes = {split: _checked(self.path, headers, split) for split in splits}
        for split, shape in shapes.items():
            if shape != shapes["train"]:
                raise UserError(
                    f"{self.path}: images of {split}_x are {_sizes(shape)}, those of train_x "
                    f"{_sizes(shapes['train'])}; they must be the same"
                )
            rows, wanted = headers[f"{split}_y"].shape[1:], headers["train_y"].shape[1:]
            if rows != wanted:
                raise UserError(
                    f"{self.path}: labels of {split}_y are (N{_rest(rows)}), those of train_y (N{_rest(wanted)}); they "
                    "must be alike"
                )

    def read_train(self) -> tuple[LabelledImages, None]:
        self.prepare_data()
        return _read(self.path, "train"), None

    def read_val(self) -> LabelledImages | None:
        return _read(self.path, "val") if "val_x" in _headers(self.path) else None

    def read_test(self) -> LabelledImages:
        return _read(self.path, "test")


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of the channels in images of `shape`: 3 or 1, or 0 for none (N, H, W); None when that is not clear."""
    if len(shape) == 3:
        return 0
    if len(shape) != 4 or (shape[1] in (1, 3)) == (shape[3] in (1, 3)):
        return None
    return 3 if shape[3] in (1, 3) else 1


def channels_first(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, C, H, W) from any layout that `channel_axis` knows."""
    axis = channel_axis(images.shape)
    images = images[:, None] if axis == 0 else np.moveaxis(images, axis, 1)
    return torch.from_numpy(np.ascontiguousarray(images))


def _headers(path: Path) -> dict[str, Header]:
    """The header of every array in the file. Raises `UserError` when there is no such file or it is damaged."""
    if not path.is_file():
        folder = "" if path.parent.is_dir() else f" (there is no folder {path.parent})"
        raise UserError(f"data.path: {path} does not exist{folder}; write it with numpy.savez_compressed")
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    form = np.lib.format
                    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
                    shape, _, dtype = read(file)
                    headers[member.removesuffix(".npy")] = Header(shape, dtype)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise UserError(f"data.path: {path} is no .npz file of numpy, or is damaged ({error})") from error
    return headers


def _checked(path: Path, headers: dict[str, Header], split: str) -> tuple[int, int, int]:
    """(C, H, W) of the split's images; raises `UserError` on a wrong type, shape or number."""
    images, labels = headers[f"{split}_x"], headers[f"{split}_y"]
    axis = channel_axis(images.shape)
    if images.dtype != np.uint8:
        raise UserError(f"{path}: {split}_x is {images.dtype}; images must be uint8, from 0 to 255")
    if axis is None or 0 in images.shape:
        raise UserError(
            f"{path}: {split}_x has the shape {images.shape}; it must be (N, H, W), (N, H, W, C) or (N, C, H, W) with "
            "C = 1 or 3, no axis of length 0, and one axis only that can be C"
        )
    several = len(labels.shape) == 2 and labels.shape[1] > 1
    if labels.dtype.kind not in ("biu" if several else "iu") or (len(labels.shape) != 1 and not several):
        raise UserError(
            f"{path}: {split}_y is {labels.dtype} {labels.shape}; labels must be integers of shape (N,), or 0 and 1 of "
            "shape (N, L), where an image has several"
        )
    if images.shape[0] != labels.shape[0]:
        raise UserError(f"{path}: {split}_x has {images.shape[0]} images, but {split}_y has {labels.shape[0]} labels")
    sides = list(images.shape[1:])
    channels = 1 if axis == 0 else sides.pop(axis - 1)
    return (channels, *sides)


def _read(path: str | os.PathLike, split: str) -> LabelledImages:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_x"], arrays[f"{split}_y"]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise UserError(f"data.path: the {split} arrays of {path} are damaged ({error})") from error
    return LabelledImages(channels_first(images), torch.from_numpy(labels.astype(np.int64)))


def _sizes(shape: tuple[int, int, int]) -> str:
    return "{} x {} pixels in {} channels".format(*shape[1:], shape[0])


def _rest(shape: tuple[int, ...]) -> str:
    return f", {shape[0]}" if shape else ","
