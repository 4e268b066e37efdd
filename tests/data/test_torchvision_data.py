import pickle
from urllib.error import URLError

import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from torchvision import datasets

from src.data.torchvision_data import TorchvisionData
from src.errors import UserError
from tests.data.sets import pixels, write_cifar, write_mnist
from tests.data.test_config import built, composed


class Painted(torch.utils.data.Dataset):
    """A user's own data set: PIL images, one grey one in colour, `side` pixels or growing with the index."""

    def __init__(self, split="train", side=6, grow=False, label=int):
        self.split, self.side, self.grow, self.label = split, side, grow, label

    def __len__(self):
        return 12

    def __getitem__(self, index):
        side = self.side + index * self.grow
        image = Image.fromarray(pixels(1, side, side, 3, seed=index)[0].numpy())
        return image.convert("L") if index % 3 == 1 else image, self.label(index % 2)


class Transformed(Painted):
    """What a data set serves after a transform to float."""

    def __getitem__(self, index):
        return torch.rand(3, 4, 4), index % 2


HERE = "tests.data.test_torchvision_data"


def multi_hot(index):
    """0 and 1 as data sets serve them: floats, in a tensor."""
    return torch.tensor([index, 1 - index]).float()


class Attributed(Painted):
    """A set of several labels an image."""

    def __init__(self, split="train", label=multi_hot):
        super().__init__(split, label=label)


class Torn(Attributed):
    """Images with unequal numbers of labels, or labels that are no whole numbers."""

    def __init__(self, split="train", odd=False):
        super().__init__(split, label=lambda index: [0.5, 1] if odd else [1] * (index + 1))


def painted(*overrides, name="Painted"):
    options = ["val_fraction=0.34", "batch_size=4"]
    return built("torchvision", f"dataset={HERE}.{name}", *options, *overrides)


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_in_its_official_format(tmp_path, monkeypatch, name, classes):
    data_class = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    count = 200 if classes == 100 else 40
    images = write_cifar(tmp_path, monkeypatch, data_class, count=count, classes=classes)
    data = built(name, f"root={tmp_path}", "batch_size=10", f"val_fraction={0.5 if classes == 100 else 0.1}")
    held = torch.cat([data._train.images, data._val.images]).flatten(1)
    assert (data.num_classes, data.input_shape, data.class_names[1]) == (classes, (3, 32, 32), "class 1")
    expected = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).flatten(1)
    assert torch.equal(held.unique(dim=0), expected.unique(dim=0))
    assert sum(len(labels) for _, labels in data.test_dataloader()) == count


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_and_fashion_in_their_official_format(tmp_path, name, folder):
    images = write_mnist(tmp_path / folder / "raw")
    data = built(name, f"root={tmp_path}", "batch_size=10", "val_fraction=0.25", "channels=3", "image_size=32")
    held = torch.cat([data._train.images, data._val.images]).flatten(1)
    assert torch.equal(held.unique(dim=0), images.flatten(1).unique(dim=0))
    assert next(iter(data.train_dataloader()))[0].shape == (10, 3, 32, 32)


def test_reading_for_a_search_leaves_the_test_batch_closed(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"poison")
    data = built("cifar10", f"root={tmp_path}")
    assert len(list(data.train_dataloader())) + len(list(data.val_dataloader())) > 0
    with pytest.raises(UserError, match="the test data cannot be read"):
        data.test_dataloader()


def test_a_set_of_ones_own_is_read_image_by_image():
    data = painted()
    assert (data.train_size, data.val_size, data.input_shape) == (8, 4, (3, 6, 6))
    assert data._nodes["test"]["split"] == "test"


def test_a_set_with_several_labels_an_image():
    data = painted(name="Attributed")
    assert (data.targets, data.num_classes, data.train_size, data.val_size) == ("attributes", 2, 8, 4)
    assert torch.cat([data._train.labels, data._val.labels]).sum(0).tolist() == [6, 6]
    labels = torch.cat([labels for _, labels in data.test_dataloader()])
    assert labels.tolist() == [[0, 1], [1, 0]] * 6
    with pytest.raises(UserError, match="the images have different numbers of labels"):
        painted(name="Torn")
    with pytest.raises(UserError, match="a label is list; it must be a whole number, or a row of 0 and 1"):
        painted("+train.odd=true", "+test.odd=true", name="Torn")


def test_images_of_different_sizes_need_a_size():
    with pytest.raises(UserError, match=r"different sizes \(6 x 6 and 7 x 7 pixels\); set data\.image_size"):
        painted("+train.grow=true", "+test.grow=true")
    assert painted("+train.grow=true", "+test.grow=true", "image_size=5").input_shape == (3, 5, 5)


def test_fast_and_slow_reading_agree(tmp_path, monkeypatch):
    """The tensor that a set holds is used in place of its items; a wrong axis order would look like noise."""
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, count=20)
    fast = built("cifar10", f"root={tmp_path}", "batch_size=8")
    monkeypatch.setattr("src.data.torchvision_data._held_arrays", lambda dataset: None)
    slow = built("cifar10", f"root={tmp_path}", "batch_size=8")
    assert torch.equal(fast._train.images, slow._train.images)
    assert torch.equal(fast._train.labels, slow._train.labels)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", r"cifar-10-batches-py/data_batch_1 does not exist; put the unpacked cifar-10-python\.tar\.gz into"),
        ("cifar100", r"cifar-100-python/train does not exist; put the unpacked cifar-100-python\.tar\.gz into"),
        ("mnist", r"MNIST/raw/train-images-idx3-ubyte does not exist; put the official train-images-idx3-ubyte, "),
        ("fashion_mnist", r"FashionMNIST/raw/train-images-idx3-ubyte does not exist; put the official"),
    ],
)
def test_absent_data_says_which_file_where_and_how_to_get_it(tmp_path, name, file):
    with pytest.raises(UserError, match=rf"data {name}: {tmp_path}/{file}.*data\.root.*data\.download=true"):
        built(name, f"root={tmp_path}")


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        write_cifar(tmp_path, patched, datasets.CIFAR10)
    with pytest.raises(UserError, match=r"data_batch_1 is damaged or incomplete \(its MD5"):
        built("cifar10", f"root={tmp_path}")
    raw = tmp_path / "MNIST" / "raw"
    write_mnist(raw)
    (raw / "train-images-idx3-ubyte").write_bytes((raw / "train-images-idx3-ubyte").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"data mnist: the train data cannot be read"):
        built("mnist", f"root={tmp_path}")


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(UserError, match=r"cannot be downloaded \(URLError: .*no network.*\); put the") as error:
        built("cifar10", f"root={tmp_path}", "download=true")
    assert "\n" not in str(error.value)
    assert "download=true" not in str(error.value)


def test_data_that_is_there_is_not_downloaded_again(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10)
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", lambda self: pytest.fail("downloaded"))
    assert built("cifar10", f"root={tmp_path}", "download=true").train_size == 180


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"needs data\.dataset=<class>, for example torchvision\.datasets\.SVHN"),
        ({"dataset": "SVNH"}, r"data\.dataset='SVNH' is not known; did you mean 'SVHN'"),
        ({"dataset": "nowhere.Data"}, r"data\.dataset='nowhere\.Data' cannot be imported"),
        ({"dataset": "EuroSAT"}, r"EuroSAT has no test split of its own"),
        ({"dataset": "SVHN", "train": {"spilt": "extra"}}, r"data\.train\.spilt is no argument of SVHN; .*'split'"),
    ],
)
def test_a_wrong_data_set_is_refused_before_anything_is_read(options, sentence):
    with pytest.raises(UserError, match=sentence):
        TorchvisionData(name="torchvision", **options)


def test_an_argument_that_the_class_refuses_is_shown(tmp_path):
    data = TorchvisionData(name="pets", dataset="OxfordIIITPet", root=str(tmp_path))
    with pytest.raises(UserError, match=r"split=train \(ValueError: .*trainval.*data\.train\.<name>"):
        data.setup()


def test_images_that_are_no_bytes_are_refused():
    with pytest.raises(UserError, match=r"an image is torch\.float32 \(3, 4, 4\); .* so give it no transform"):
        painted(name="Transformed")


def test_arguments_reach_the_class_of_each_split():
    node = composed("torchvision", "dataset=EMNIST", "root=/sets", "+train.split=letters", "+test.split=letters").data
    nodes = instantiate(node)._nodes
    assert [nodes[split]["train"] for split in ("train", "test")] == [True, False]
    assert nodes["test"]["split"] == "letters"


def test_it_travels_to_another_process():
    """Lightning's spawned processes get the data module by pickle."""
    data = pickle.loads(pickle.dumps(painted()))
    assert data.train_size == 8
