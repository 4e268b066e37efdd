import pytest
import torch
from pytorch_lightning import Trainer

from src.data.pixels import channel_statistics
from src.data.tensor_data import LabelledImages
from src.errors import UserError
from tests.data.sets import memory_data, pixels, trainer
from tests.data.test_loaders import Recorder


def test_split_is_stratified_and_keyed_by_the_seed():
    first, again, other = (memory_data(seed=seed) for seed in (0, 0, 1))
    assert torch.bincount(first._val.labels).tolist() == [2] * 5
    assert torch.equal(first._val.images, again._val.images)
    assert not torch.equal(first._val.images, other._val.images)


def test_training_and_validation_images_are_all_images_and_none_twice():
    data = memory_data(count=60)
    held = torch.cat([data._train.images, data._val.images]).flatten(1)
    given = data.given[0].images.flatten(1)
    assert len(held) == 60
    assert torch.equal(held.unique(dim=0), given.unique(dim=0))


def test_its_own_validation_images_are_used_whole_and_nothing_is_carved():
    own = LabelledImages(pixels(15, 3, 8, 8, seed=9), torch.arange(15) % 5)
    data = memory_data(own_val=own)
    assert (data.train_size, data.val_size) == (100, 15)
    assert torch.equal(data._val.images, own.images)


def test_fitting_and_validating_never_open_the_test_split():
    """The set in memory fails on `read_test`; a search that looked at the test images would report a biased error."""
    data = memory_data()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    fitter = Trainer(accelerator="cpu", devices=1, max_epochs=1, **quiet)
    fitter.fit(Recorder(), datamodule=data)
    fitter.validate(Recorder(), datamodule=data, verbose=False)
    with pytest.raises(AssertionError, match="the test split was opened"):
        data.test_dataloader()


def test_the_test_split_is_handed_out_whole_and_in_order():
    test = LabelledImages(pixels(23, 3, 8, 8, seed=3), torch.arange(23) % 5)
    data = memory_data(test=test, mean=0, std=1)
    images, labels = (torch.cat(parts) for parts in zip(*data.test_dataloader(), strict=True))
    assert torch.allclose(images, test.images / 255)
    assert torch.equal(labels, test.labels)


def test_a_test_label_that_training_does_not_know_is_refused():
    data = memory_data(test=LabelledImages(pixels(3, 3, 8, 8), torch.tensor([0, 5, 1])))
    with pytest.raises(UserError, match="test labels hold 5, which is no class"):
        data.test_dataloader()


def test_statistics_come_from_the_training_part_alone():
    data = memory_data()
    assert (data.mean, data.std) == channel_statistics(data._train.images)


def test_given_statistics_are_used_and_repeated_for_three_channels():
    data = memory_data(shape=(1, 8, 8), channels=3, mean=[0.4], std=[0.2])
    assert (data.mean, data.std) == ((0.4,) * 3, (0.2,) * 3)


def test_colour_statistics_are_replaced_when_the_images_turn_grey():
    data = memory_data(channels=1, mean=[0.1, 0.2, 0.3], std=[0.1, 0.2, 0.3])
    assert data.mean == channel_statistics(data._train.images)[0]
    assert len(data.mean) == 1


@pytest.mark.parametrize(("channels", "asked"), [(1, None), (1, 3), (3, None), (3, 1)])
@pytest.mark.parametrize("size", [None, 5, 8, 12, [6, 10]])
def test_any_network_can_take_any_data(channels, asked, size):
    """Attributes, training and validation batches agree on the shape that was asked for."""
    data = memory_data(shape=(channels, 8, 8), channels=asked, image_size=size, augment={"crop": 1, "flip": True})
    expected = (asked or channels, *([8, 8] if size is None else size if isinstance(size, list) else [size, size]))
    assert data.input_shape == expected
    assert data.channels == len(data.mean) == len(data.std) == expected[0]
    for loader in (data.train_dataloader(), data.val_dataloader()):
        images, labels = next(iter(loader))
        assert images.shape[1:] == expected
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(("room", "device"), [(2**20, "meta"), (10, "cpu")])
def test_it_moves_to_the_trainer_s_device_where_there_is_room(monkeypatch, room, device):
    """`meta` stands for a GPU: batches of a set that is there need no transfer."""
    monkeypatch.setattr("src.data.tensor_data.DEVICE_BYTES", room)
    data = memory_data()
    data.trainer = trainer(device="meta")
    data.setup("fit")
    assert {part.device.type for part in (*data._train, *data._val)} == {device}


def test_set_up_twice_reads_once():
    """Lightning calls `setup` for every fit and test; reading and splitting again would cost time for nothing."""
    data = memory_data()
    images = data._train.images
    data.given = None
    data.setup("fit")
    assert data._train.images is images
