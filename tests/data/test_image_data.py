from pathlib import Path

import pytest
import torch

from src.data.image_data import located
from src.data.tensor_data import LabelledImages
from src.errors import UserError
from tests.data.sets import MemoryData, memory_data, pixels, trainer


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0 is not allowed; it must be a whole number of at least 1"),
        ({"batch_size": 1.5}, r"data\.batch_size=1\.5 is not allowed"),
        ({"batch_size": 91}, r"data\.batch_size=91 .*memory has 90 training images here, so it must be at most 90"),
        ({"eval_batch_size": -1}, r"data\.eval_batch_size=-1 is not allowed"),
        ({"seed": None}, r"data\.seed=None is not allowed"),
        ({"limit": 4}, r"data\.limit=4 .* number of classes, 5"),
        ({"channels": 2}, r"data\.channels=2 is not allowed; it must be 1, 3 or null"),
        ({"num_classes": 7}, r"data\.num_classes=7 is not allowed; data memory has 5 classes"),
        ({"num_classes": 1}, r"data\.num_classes=1 is not allowed; data memory has 5 classes"),
        ({"val_fraction": 0}, r"data\.val_fraction=0 is not allowed; it must be above 0 and below 1"),
        ({"val_fraction": 1.0}, r"data\.val_fraction=1\.0 is not allowed"),
        ({"val_fraction": 0.01}, r"data\.val_fraction=0\.01 leaves class \d"),
        ({"image_size": 0}, r"data\.image_size=0 is not allowed"),
        ({"image_size": [8, 8, 3]}, r"data\.image_size=\[8, 8, 3\] is not allowed"),
        ({"mean": [0.5]}, r"data\.mean and data\.std must be given both or neither"),
        ({"mean": [0.5] * 2, "std": [0.5] * 2}, r"data\.mean=\[0\.5, 0\.5\]"),
        ({"mean": 0.5, "std": 0}, r"std more than 0"),
        ({"augment": {"crop": 8}}, r"data\.augment\.crop=8 is not allowed; the images are 8 x 8 pixels"),
    ],
)
def test_a_wrong_option_is_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        memory_data(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [[1, 2] * 10, [0, 2] * 10, [0] * 20, [-1, 0] * 10])
def test_labels_that_are_no_classes_are_refused(labels):
    """A gap would train an output that no image ever asks for; a negative label crashes the loss."""
    data = MemoryData(LabelledImages(pixels(20, 1, 4, 4), torch.tensor(labels)), val_fraction=0.3)
    with pytest.raises(UserError, match=r"training labels are .* must be 0, 1, ..."):
        data.setup()


def test_an_empty_set_is_refused():
    data = MemoryData(LabelledImages(pixels(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    with pytest.raises(UserError, match="training labels are none"):
        data.setup()


def test_batch_size_counts_all_processes():
    """Otherwise some rank would have no images, and the others would wait for it."""
    data = memory_data(batch_size=40)
    data.trainer = trainer(0, 3)
    with pytest.raises(UserError, match=r"batch_size=40 on each of 3 processes .* at most 30"):
        data.setup()


def test_limit_shortens_training_only():
    """Errors of short runs stay comparable: they are measured on the same validation images."""
    whole, short = memory_data(), memory_data(limit=20)
    assert (short.train_size, short.val_size) == (20, whole.val_size)
    assert torch.equal(short._val.images, whole._val.images)
    assert torch.bincount(short._train.labels).tolist() == [4] * 5


def test_a_relative_root_starts_where_the_command_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located("a/b") == tmp_path / "a" / "b"
    assert located("~/b") == tmp_path / "b"
    assert located("/b") == Path("/b")


def test_its_text_says_what_it_is_and_opens_no_test_split():
    """Lightning's own `str` builds every loader, the test loader among them."""
    data = memory_data()
    assert "90 training, 10 validation images 3x8x8, 5 classes" in str(data)
    assert "not set up" in repr(MemoryData(LabelledImages(pixels(20, 1, 4, 4), torch.arange(20) % 2)))


def test_a_repeated_training_has_another_order_on_the_same_split():
    """Repeats of a training that differed in their split would be compared on different validation images."""
    data = memory_data()
    first, validated = next(iter(data.train_dataloader()))[1], next(iter(data.val_dataloader()))[0]
    data.order_seed = data.seed + 1
    assert not torch.equal(first, next(iter(data.train_dataloader()))[1])
    assert torch.equal(validated, next(iter(data.val_dataloader()))[0])
