"""The configs of conf/data, composed as a top-level config composes them."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SHAPE = {"name", "num_classes", "channels", "image_size", "mean", "std"}
KEYS = SHAPE | {"val_fraction", "limit", "batch_size", "eval_batch_size", "augment", "seed"}


def composed(name, *overrides):
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        node = compose(name, overrides=list(overrides))
    return OmegaConf.create({"seed": 3, "data": node})


def built(name, *overrides):
    data = instantiate(composed(name, *overrides).data)
    data.prepare_data()
    data.setup()
    return data


def test_all_of_them_are_here():
    named = {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet"}
    assert set(NAMES) == named | {"arrays", "celeba", "image_folder", "torchvision"}


@pytest.mark.parametrize("name", NAMES)
def test_a_config_opens_with_its_command_and_has_every_key(name):
    assert (FOLDER / f"{name}.yaml").read_text().startswith(f"# python search.py data={name}")
    node = composed(name).data
    assert set(node) >= KEYS
    assert node.seed == 3


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"arrays", "torchvision"}))
def test_every_key_is_an_argument(name):
    """Sets without a default file are built by the tests of their own classes."""
    data = instantiate(composed(name).data)
    assert (data.name, data.seed) == (name, 3)
    assert data.num_classes == {"cifar100": 100, "imagenet": 1000, "image_folder": None, "celeba": None}.get(name, 10)


def test_the_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("ESPALIER_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert instantiate(composed("cifar10").data).root == tmp_path / "data"
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "sets"))
    assert instantiate(composed("imagenet").data).root == tmp_path / "sets" / "imagenet"


def test_imagenet_is_the_published_preset():
    data = instantiate(composed("imagenet").data)
    assert (data.image_size, data.eval_resize) == ((224, 224), 256)
    assert (data.augment.scale, data.augment.flip, data.augment.jitter) == ((0.08, 1.0), True, (0.4,) * 3)


def test_one_key_chooses_any_set_of_torchvision():
    data = instantiate(composed("torchvision", "dataset=SVHN", "root=/sets").data)
    expected = {"_target_": "torchvision.datasets.svhn.SVHN", "root": "/sets"}
    assert data._nodes == {split: {**expected, "split": split} for split in ("train", "test")}
