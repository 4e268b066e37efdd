"""Small data sets in the official formats, written by the tests, and a set in memory whose test split is poison."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CelebA

from src.data.tensor_data import LabelledImages, TensorData


def pixels(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


class MemoryData(TensorData):
    """A set given as tensors; asking for the test split fails the test that does it, unless there is one."""

    def __init__(self, train: LabelledImages, test: LabelledImages | None = None, own_val=None, **options):
        super().__init__(**{"name": "memory", "batch_size": 8, **options})
        self.given = (train, test, own_val)

    def read_train(self):
        return self.given[0], None

    def read_val(self):
        return self.given[2]

    def read_test(self):
        assert self.given[1] is not None, "the test split was opened"
        return self.given[1]


def memory_data(count: int = 100, shape=(3, 8, 8), classes: int = 5, **options) -> MemoryData:
    """Set up; image i is random, and its label is i % classes."""
    train = LabelledImages(pixels(count, *shape), torch.arange(count) % classes)
    data = MemoryData(train, **options)
    data.setup()
    return data


def trainer(rank: int = 0, world: int = 1, device: str = "cpu"):
    """What a data module reads of a Lightning trainer."""
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(
        global_rank=rank, world_size=world, num_devices=world, strategy=strategy, overfit_batches=0.0
    )


def write_cifar(root: Path, monkeypatch, data_class: type, count: int = 40, classes: int = 10) -> np.ndarray:
    """CIFAR batches in torchvision's layout, `count` images a file; returns the training images (N, 32, 32, 3)."""
    folder = root / data_class.base_folder
    folder.mkdir(parents=True)
    label_key = "fine_labels" if classes == 100 else "labels"
    names = data_class.train_list + data_class.test_list
    images = pixels(count * len(names), 3 * 32 * 32).numpy().reshape(len(names), count, -1)
    for (name, _), part in zip(names, images, strict=True):
        content = {"data": part, label_key: [i % classes for i in range(count)]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {data_class.meta["key"]: [f"class {i}" for i in range(classes)]}
    (folder / data_class.meta["filename"]).write_bytes(pickle.dumps(meta, protocol=2))
    for where in ("torchvision.datasets.cifar", "src.data.torchvision_files"):
        monkeypatch.setattr(f"{where}.check_integrity", lambda path, md5=None: Path(path).is_file())
    train = images[: len(data_class.train_list)].reshape(-1, 3, 32, 32)
    return train.transpose(0, 2, 3, 1)


def write_mnist(raw: Path, count: int = 40) -> torch.Tensor:
    """Idx files in torchvision's layout; returns the training images (N, 28, 28)."""
    raw.mkdir(parents=True)
    for seed, split in enumerate(("train", "t10k")):
        images = pixels(count, 28, 28, seed=seed).numpy()
        header = b"\x00\x00\x08\x03" + np.array([count, 28, 28], dtype=">i4").tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = b"\x00\x00\x08\x01" + np.array([count], dtype=">i4").tobytes()
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return pixels(count, 28, 28, seed=0)


def write_folder(root: Path, splits=("train", "val"), classes=("ant", "bee"), count: int = 10) -> Path:
    """ImageNet's layout with small JPEGs of different sizes; class k's images are bright in channel k."""
    for split in splits:
        for k, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = pixels(1, 30 + i, 40, 3, seed=i)[0].numpy() // 4
                image[..., k] += 150
                Image.fromarray(image).save(folder / f"{i}.jpg")
    return root


def write_celeba(root: Path, monkeypatch, counts=(24, 8, 8), size=(218, 178)) -> torch.Tensor:
    """CelebA in torchvision's layout, `counts` images a split; returns the labels (N, 3) of all, in order.

    torchvision wants the MD5s of the official files; that check is taken out. Attribute k is a bright channel k. As in
    the official file, the line of names ends with a space and numbers stand in columns.
    """
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    total = sum(counts)
    labels = (torch.arange(total)[:, None] // torch.tensor([1, 2, 4])) % 2
    names = [f"{i + 1:06}.jpg" for i in range(total)]
    splits = [split for split, count in enumerate(counts) for _ in range(count)]
    for i, name in enumerate(names):
        image = pixels(1, *size, 3, seed=i)[0] // 4 + 150 * labels[i].to(torch.uint8)
        Image.fromarray(image.numpy()).save(folder / "img_align_celeba" / name)
    tables = {
        "attr": (labels * 2 - 1, "Red Green Blue "),
        "bbox": (labels, "x y w"),
        "landmarks_align": (labels, "a b c"),
    }
    for table, (values, head) in tables.items():
        rows = [
            f"{name} " + " ".join(f"{value:2}" for value in row)
            for name, row in zip(names, values.tolist(), strict=True)
        ]
        (folder / f"list_{table}_celeba.txt").write_text("\n".join([str(total), head, *rows, ""]))
    for file, values in (("identity_CelebA", range(total)), ("list_eval_partition", splits)):
        rows = [f"{name} {value}" for name, value in zip(names, values, strict=True)]
        (folder / f"{file}.txt").write_text("\n".join([*rows, ""]))
    monkeypatch.setattr(CelebA, "_check_integrity", lambda dataset: True)
    return labels


DIGIT_ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "above 4": (5, 6, 7, 8, 9),
    "has a loop": (0, 6, 8, 9),
}


def write_digit_attributes(path: Path) -> torch.Tensor:
    """scikit-learn's digits as an .npz with four labels an image; returns the training labels (1348, 4)."""
    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype(np.uint8)
    labels = np.stack([np.isin(bunch.target, digits) for digits in DIGIT_ATTRIBUTES.values()], axis=1)
    np.savez_compressed(path, train_x=images[:1348], train_y=labels[:1348], test_x=images[1348:], test_y=labels[1348:])
    return torch.from_numpy(labels[:1348].astype(np.int64))
