"""Any data set of torchvision, by the name of its class: read once into memory as uint8 tensors."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from src.data.image_data import located
from src.data.labels import label_of_item, stacked
from src.data.pixels import resized
from src.data.tensor_data import LabelledImages, TensorData
from src.data.torchvision_files import absent_file, archive, damaged_file, official_files
from src.errors import UserError, did_you_mean


class TorchvisionData(TensorData):
    """A map-style data set whose items are (PIL image or uint8 tensor (C, H, W), class or row of 0 and 1).

    dataset: the class, such as `torchvision.datasets.SVHN`, or `SVHN` for short.
    train, test: nodes with arguments of the class, and with `_target_` where it is not `dataset`. `root`, and
        `train=true|false` or else `split=train|test`, are filled in where the class takes them and the node is silent.
    root: where the files are, in torchvision's layout. download: get what is absent.
    """

    def __init__(
        self,
        *,
        dataset: str | None = None,
        root: str = "data",
        download: bool = False,
        train: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        **options,
    ):
        super().__init__(**options)
        train, test = dict(train or {}), dict(test or {})
        target = train.get("_target_") or dataset
        if not target:
            raise UserError(f"data {self.name} needs data.dataset=<class>, for example torchvision.datasets.SVHN")
        self.root, self.download = located(root), bool(download)
        self._nodes = {
            "train": self._node(train, target, "train"),
            "test": self._node(test, test.get("_target_") or target, "test"),
        }
        if self._nodes["train"] == self._nodes["test"]:
            raise UserError(
                f"data {self.name}: {target} has no test split of its own; give data.train and data.test arguments in "
                "which they differ, or use data=arrays"
            )

    def _node(self, given: dict[str, Any], target: str, split: str) -> dict[str, Any]:
        """The node with everything that the class takes and the user left out."""
        data_class = _data_class(target)
        takes = _parameters(data_class)
        node = {"_target_": f"{data_class.__module__}.{data_class.__qualname__}"}
        if "root" in takes:
            node["root"] = str(self.root)
        if "train" in takes:
            node["train"] = split == "train"
        elif "split" in takes:
            node["split"] = split
        node.update({key: value for key, value in given.items() if key != "_target_"})
        unknown = [key for key in node if takes and not key.startswith("_") and key not in takes]
        if unknown:
            raise UserError(f"data.{split}.{unknown[0]} is no argument of {target}; {did_you_mean(unknown[0], takes)}")
        return node

    def prepare_data(self) -> None:
        """See to it that the files are there: download what is absent, if `download` allows it."""
        for split in ("train", "test"):
            data_class = self._class(split)
            complete = official_files(data_class, self.root) and absent_file(data_class, self.root) is None
            if self.download and not complete and "download" in _parameters(data_class):
                self._open(split, download=True)
        self._check_files()

    def _check_files(self) -> None:
        """Raises `UserError` when a file is known to be absent."""
        for split in ("train", "test"):
            data_class = self._class(split)
            absent = absent_file(data_class, self.root)
            if absent is not None:
                raise UserError(f"data {self.name}: {absent} does not exist; {self._remedy(data_class)}")

    def _class(self, split: str) -> type:
        return _data_class(self._nodes[split]["_target_"])

    def _remedy(self, data_class: type) -> str:
        download = "" if self.download else ", or have it downloaded with data.download=true"
        return (
            f"put {archive(data_class)} into {self.root} in torchvision's layout, or set data.root to the folder that "
            f"has it{download}"
        )

    def _open(self, split: str, download: bool = False) -> Dataset:
        """The torchvision object. Whatever it raises becomes one sentence."""
        data_class = self._class(split)
        try:
            return instantiate(self._nodes[split], **({"download": True} if download else {}))
        except Exception as error:
            cause = error.__cause__ or error
            reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
            start = f"data {self.name}: the {split} data cannot be {'downloaded' if download else 'read'}"
            if isinstance(cause, TypeError) or (isinstance(cause, ValueError) and "argument" in reason):
                given = ", ".join(f"{key}={value}" for key, value in self._nodes[split].items() if key != "_target_")
                raise UserError(f"{start} with {given} ({reason}); set the arguments as data.{split}.<name>") from error
            damaged = None if absent_file(data_class, self.root) else damaged_file(data_class, self.root)
            if damaged is not None:
                start = f"data {self.name}: {damaged} is damaged or incomplete"
                reason = "its MD5 is not the official one"
            raise UserError(f"{start} ({reason}); {self._remedy(data_class)}") from error

    def read_train(self) -> tuple[LabelledImages, Sequence[str] | None]:
        self._check_files()  # for those who call `setup` alone: torchvision's own message would not name the file
        dataset = self._open("train")
        return self._images(dataset), getattr(dataset, "classes", None)

    def read_test(self) -> LabelledImages:
        return self._images(self._open("test"))

    def _images(self, dataset: Dataset) -> LabelledImages:
        """The whole set: the tensor that it holds where that is what it serves, image by image otherwise."""
        held = _held_arrays(dataset)
        if held is not None:
            return held
        images, labels = [], []
        for index in range(len(dataset)):
            image, label = dataset[index]
            images.append(self._uint8(image))
            labels.append(label_of_item(self.name, label))
            if images[-1].shape[-2:] != images[0].shape[-2:]:
                first, other = ("{} x {}".format(*images[i].shape[-2:]) for i in (0, -1))
                raise UserError(
                    f"data {self.name} has images of different sizes ({first} and {other} pixels); set data.image_size"
                )
        channels = max((len(image) for image in images), default=1)
        images = [image.expand(channels, -1, -1) for image in images]
        empty = torch.empty(0, 1, 1, 1, dtype=torch.uint8)
        return LabelledImages(torch.stack(images) if images else empty, stacked(self.name, labels))

    def _uint8(self, image: Image.Image | Tensor) -> Tensor:
        """One image as uint8 (1 or 3, H, W), at `image_size` if that is given."""
        if isinstance(image, Image.Image):
            image = pil_to_tensor(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
            found = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise UserError(
                f"data {self.name}: an image is {found}; the data set must serve PIL images or uint8 tensors (C, H, W) "
                "with C = 1 or 3, so give it no transform"
            )
        return image if self.image_size is None else resized(image[None], self.image_size)[0]


def _data_class(target: str) -> type:
    """The class; a name without a dot is one of torchvision.datasets."""
    module, _, name = (target if "." in target else f"torchvision.datasets.{target}").rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        if module == "torchvision.datasets":
            raise UserError(
                f"data.dataset={target!r} is not known; {did_you_mean(name, torchvision.datasets.__all__)}"
            ) from error
        raise UserError(
            f"data.dataset={target!r} cannot be imported ({error}); it must be <module>.<class>, importable from here"
        ) from error


def _parameters(data_class: type) -> list[str]:
    """Names of the constructor's arguments, those of base classes too where it passes **kwargs on."""
    names: list[str] = []
    for base in data_class.__mro__ if isinstance(data_class, type) else (data_class,):
        init = base.__dict__.get("__init__") if isinstance(base, type) else base
        if init is None:
            continue
        parameters = [p for p in inspect.signature(init).parameters.values() if p.name != "self"]
        names += [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names


def _held_arrays(dataset: Dataset) -> LabelledImages | None:
    """`dataset.data` and its labels as tensors, if three of its items agree with them; None otherwise."""
    data = getattr(dataset, "data", None)
    labels = next((getattr(dataset, name) for name in ("targets", "labels") if hasattr(dataset, name)), None)
    if not isinstance(data, (np.ndarray, Tensor)) or labels is None or not len(data) == len(labels) == len(dataset) > 0:
        return None
    data = torch.as_tensor(data)
    layouts = {3: [lambda x: x[:, None]], 4: [lambda x: x, lambda x: x.permute(0, 3, 1, 2)]}
    if data.dtype != torch.uint8:
        return None
    for layout in layouts.get(data.ndim, []):
        images = layout(data)
        if all(_serves(dataset, images, labels, index) for index in {0, len(data) // 2, len(data) - 1}):
            return LabelledImages(images.contiguous(), torch.as_tensor(np.asarray(labels), dtype=torch.int64))
    return None


def _serves(dataset: Dataset, images: Tensor, labels: Sequence, index: int) -> bool:
    image, label = dataset[index]
    if not isinstance(image, Image.Image) or not np.array_equal(np.asarray(label), np.asarray(labels[index])):
        return False
    return torch.equal(pil_to_tensor(image), images[index])
