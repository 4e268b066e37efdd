"""CelebA: faces with 40 attributes each, by torchvision's own class and in its layout.

Liu et al., Deep Learning Face Attributes in the Wild, https://arxiv.org/abs/1411.7766
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import torch
from torchvision.datasets import CelebA

from src.data.image_data import LARGEST
from src.data.torchvision_files import absent_file, damaged_file
from src.data.worker_data import Samples, WorkerData, opened
from src.errors import UserError, check_flag, check_whole, did_you_mean

IMAGES = "img_align_celeba"


class CelebAData(WorkerData):
    """The aligned images of CelebA and their attributes, int64 (B, L) of 0 and 1; the splits are the official ones.

    root: has the folder `celeba` of torchvision. download: get what is absent.
    attributes: names of those that are learned, in this order; None = all 40.
    image_size: None = as the images are, 218 x 178. eval_resize: None = the least that covers image_size.
    Nothing is carved from the training images. What else there is to set stands in `WorkerData`.
    """

    def __init__(
        self,
        *,
        attributes: Sequence[str] | None = None,
        download: bool = False,
        eval_resize: int | None = None,
        **options,
    ):
        super().__init__(**options)
        self.download = check_flag("data.download", download)
        self.attributes = _names(attributes)
        self.eval_resize = None if eval_resize is None else check_whole("data.eval_resize", eval_resize, 1, 2 * LARGEST)

    @property
    def folder(self) -> Path:
        return self.root / CelebA.base_folder

    def prepare_data(self) -> None:
        """See to it that the files are there: download what is absent, if `download` allows it."""
        if self.download and self._absent() is not None:
            self._open("train", download=True)
        absent = self._absent()
        if absent is not None:
            raise UserError(f"data {self.name}: {absent} does not exist; {self._remedy()}")

    def _absent(self) -> Path | None:
        """The first thing that torchvision will look for and not find."""
        images = self.folder / IMAGES
        return absent_file(CelebA, self.root) or (None if images.is_dir() else images)

    def _remedy(self) -> str:
        download = "" if self.download else ", or have all of it downloaded with data.download=true"
        return (
            f"put CelebA's text files and the unpacked {IMAGES}.zip into {self.folder}, or set data.root to the folder "
            f"that has {CelebA.base_folder}{download}"
        )

    def _open(self, split: str, download: bool = False) -> CelebA:
        """torchvision's object. Whatever it raises becomes one sentence."""
        try:
            return CelebA(self.root, split=split, target_type="attr", download=download)
        except Exception as error:
            start = f"data {self.name}: the {split} data cannot be {'downloaded' if download else 'read'}"
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            damaged = None if absent_file(CelebA, self.root) else damaged_file(CelebA, self.root)
            if damaged is not None:
                start, reason = (
                    f"data {self.name}: {damaged} is damaged or incomplete",
                    "its MD5 is not the official one",
                )
            raise UserError(f"{start} ({reason}); {self._remedy()}") from error

    def read_train(self) -> tuple[Samples, list[str]]:
        samples, names = self._samples("train")
        if not samples.paths:
            raise UserError(f"data {self.name}: {self.folder / 'list_eval_partition.txt'} has no training image")
        self._fit_sizes(samples.paths[0])
        return samples, names

    def read_val(self) -> Samples:
        return self._samples("valid")[0]

    def read_test(self) -> Samples:
        return self._samples("test")[0]

    def _samples(self, split: str) -> tuple[Samples, list[str]]:
        """The images of a split and the names of the attributes. No image is opened."""
        dataset = self._open(split)
        known = [name for name in dataset.attr_names if name]  # the line of names ends with a space
        names = known if self.attributes is None else self.attributes
        for name in names:
            if name not in known:
                raise UserError(
                    f"data.attributes: {name!r} is no attribute of {self.name}; {did_you_mean(name, known)}"
                )
        labels = dataset.attr[:, [known.index(name) for name in names]].to(torch.int64)
        return Samples([str(self.folder / IMAGES / name) for name in dataset.filename], labels), list(names)

    def _fit_sizes(self, path: str) -> None:
        """Set `image_size`, where it was not given, and `eval_resize`, from the size of one image; all are alike."""
        if not Path(path).is_file():
            raise UserError(f"data {self.name}: {path} does not exist; {self._remedy()}")
        with opened(path) as file:
            width, height = file.size
        self.image_size = self.image_size or (height, width)
        least = ceil(min(height, width) * max(self.image_size[0] / height, self.image_size[1] / width))
        if self.eval_resize is not None and self.eval_resize < least:
            raise UserError(
                f"data.eval_resize={self.eval_resize} is not allowed; the images are {height} x {width} pixels, so it "
                f"must be at least {least} to cover data.image_size"
            )
        self.eval_resize = self.eval_resize or least


def _names(attributes: Sequence[str] | None) -> list[str] | None:
    """The config's `attributes`; raises `UserError` for anything but null or a list of different names."""
    if attributes is None:
        return None
    several = isinstance(attributes, Sequence) and not isinstance(attributes, str)
    if not several or not attributes or not all(isinstance(name, str) for name in attributes):
        raise UserError(
            f"data.attributes={attributes!r} is not allowed; it must be null (all) or a list of names, say "
            "[Smiling, Young]"
        )
    twice = [name for name, times in Counter(attributes).items() if times > 1]
    if twice:
        raise UserError(f"data.attributes has {twice[0]!r} twice")
    return list(attributes)
