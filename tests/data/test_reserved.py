"""Two parts of the training data, for two things that are trained by turns."""

import pytest
import torch

from src.errors import UserError
from tests.data.sets import memory_data, trainer, write_folder
from tests.data.test_image_folder import folder_data


def images_of(loader, epochs=(0,)) -> set:
    seen = set()
    for number in epochs:
        loader.sampler.set_epoch(number)
        seen |= {tuple(image.flatten().tolist()) for images, _ in loader for image in images}
    return seen


def test_parts_are_disjoint_in_every_epoch_and_together_the_whole():
    """Architecture parameters that are fitted to the images of the weights reward what overfits them."""
    data = memory_data(seed=3)
    whole = images_of(data.train_dataloader())
    data.reserve(0.2, "method.arch.fraction")
    kept = images_of(data.train_dataloader(), range(3))
    reserved = images_of(data.reserved_dataloader(), range(3))
    validation = {tuple(image.flatten().tolist()) for images, _ in data.val_dataloader() for image in images}
    assert not kept & reserved
    assert not (kept | reserved) & validation
    assert kept | reserved == whole
    assert len(reserved) == 18
    data.reserve(0, "method.arch.fraction")
    assert images_of(data.train_dataloader()) == whole


def test_each_class_gives_its_share_and_the_order_is_of_its_own():
    data = memory_data(seed=3)
    data.reserve(0.2, "method.arch.fraction")
    assert torch.cat([labels for _, labels in data.reserved_dataloader()]).bincount().tolist() == [4, 4, 4, 3, 3]
    orders = [data.reserved_dataloader().sampler.seed, data.train_dataloader().sampler.seed]
    assert orders[0] != orders[1]


def test_ranks_share_both_parts():
    data = memory_data(seed=3, batch_size=3)
    data.reserve(0.2, "method.arch.fraction")
    alone = images_of(data.reserved_dataloader())
    shards = []
    for rank in (0, 1):
        data.trainer = trainer(rank, 2)
        shards.append(images_of(data.reserved_dataloader()))
    assert shards[0] | shards[1] == alone
    assert not shards[0] & shards[1]


def test_files_are_divided_too(tmp_path):
    data = folder_data(write_folder(tmp_path), mean=0, std=1, batch_size=3)
    whole = data.train_size
    data.reserve(0.3, "method.arch.fraction")
    counts = [
        sum(len(labels) for _, labels in loader) for loader in (data.train_dataloader(), data.reserved_dataloader())
    ]
    assert sum(counts) == whole
    assert min(counts) > 0


def test_a_fraction_that_leaves_a_class_empty_is_told_by_its_key():
    with pytest.raises(UserError, match=r"arch.fraction=0.01 leaves class \d.* image for the architecture"):
        memory_data(seed=3).reserve(0.01, "method.arch.fraction")
