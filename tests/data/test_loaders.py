import logging
import multiprocessing

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from src.data.augmentation import Augmentation
from src.data.image_folder import ImageFolderData
from src.runtime.seeds import keyed_generator
from tests.data.sets import memory_data, trainer, write_folder
from tests.data.test_augmentation import one_by_one

AUGMENT = {"crop": 2, "flip": True, "cutout": 3}


def epoch(loader, number):
    loader.sampler.set_epoch(number)
    return list(loader)


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_and_on_nothing_else():
    data, again, other = (memory_data(augment=AUGMENT, seed=seed) for seed in (1, 1, 2))
    loader = data.train_dataloader()
    first, second = epoch(loader, 0), epoch(loader, 1)
    torch.rand(7)
    assert same(second, epoch(again.train_dataloader(), 1))  # starts at epoch 1, as a resumed run does
    assert not same(first, second)
    assert not same(second, epoch(other.train_dataloader(), 1))


def test_a_batch_is_augmented_as_the_definition_says():
    """Crop and flip through the loader, against the slow loop, with the draws of (seed, epoch, step)."""
    data = memory_data(augment={"crop": 2, "flip": True}, mean=0, std=1, seed=4)
    loader = data.train_dataloader()
    for step, (images, labels) in enumerate(epoch(loader, 3)):
        indices = loader.sampler.batches()[step]
        draws = Augmentation(2, True).draw(len(images), 8, 8, keyed_generator(4, "augment", 3, step))
        expected = one_by_one(data._train.images[indices], draws.corners, draws.flips, 2)
        assert torch.allclose(images, expected / 255)
        assert torch.equal(labels, data._train.labels[indices])


def test_cutout_leaves_the_mean():
    images = next(iter(memory_data(augment={"cutout": 3}).train_dataloader()))[0]
    assert ((images == 0).all(1).sum((1, 2)) >= 4).all()


def test_two_ranks_train_on_what_one_process_would_augmentation_included():
    data = memory_data(augment=AUGMENT, seed=4, val_fraction=0.2)
    alone = epoch(data.train_dataloader(), 2)
    data.batch_size //= 2
    shards = []
    for rank in (0, 1):
        data.trainer = trainer(rank, 2)
        shards.append(epoch(data.train_dataloader(), 2))
    for whole, *parts in zip(alone, *shards, strict=True):
        for values, first, second in zip(whole, *parts, strict=True):
            assert torch.equal(values[0::2], first)
            assert torch.equal(values[1::2], second)


def test_validation_is_neither_shuffled_nor_augmented():
    data = memory_data(augment=AUGMENT, mean=0, std=1, eval_batch_size=3)
    images, labels = (torch.cat(parts) for parts in zip(*data.val_dataloader(), strict=True))
    assert torch.allclose(images, data._val.images / 255)
    assert torch.equal(labels, data._val.labels)


def test_the_epoch_is_read_when_the_first_batch_is():
    """Lightning makes the iterator before it calls `set_epoch`; an eager one would serve the wrong epoch on resume."""
    loader = memory_data(augment=AUGMENT).train_dataloader()
    expected = epoch(loader, 5)
    loader.sampler.set_epoch(0)
    early = iter(loader)
    loader.sampler.set_epoch(5)
    assert same(list(early), expected)


def test_a_state_from_the_middle_goes_on_after_the_batches_handed_out():
    loader, resumed = (memory_data(augment=AUGMENT).train_dataloader() for _ in range(2))
    loader.sampler.set_epoch(3)
    batches = iter(loader)
    taken = [next(batches) for _ in range(4)]
    resumed.load_state_dict(loader.state_dict())
    assert same(taken + epoch(resumed, 3), epoch(loader, 3))
    resumed.load_state_dict(loader.state_dict())
    assert len(epoch(resumed, 4)) == len(loader)  # the state of a finished epoch does not shorten the next


class Recorder(LightningModule):
    """Writes down a fingerprint of every training batch; it learns a little, so that there is something to save."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 5)
        self.seen = []

    def training_step(self, batch, step):
        images, labels = batch
        self.seen.append((self.current_epoch, step, float(images.double().sum())))
        return torch.nn.functional.cross_entropy(self.layer(images.mean((2, 3))), labels)

    def validation_step(self, batch, step):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data, folder, resume=None, **checkpoint):
    module = Recorder()
    save = [ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **checkpoint)] if checkpoint else []
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    options = {"accelerator": "cpu", "devices": 1, "max_epochs": 3, "logger": False, "callbacks": save}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": bool(save)}
    Trainer(**options, **quiet, num_sanity_val_steps=0).fit(module, datamodule=data, ckpt_path=resume)
    return module


@pytest.mark.parametrize("workers", [False, True], ids=["tensors", "workers"])
@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes_with_the_batches_of_the_run_that_was_not_stopped(tmp_path, workers):
    """From every checkpoint, in the middle and at the end of an epoch: same batches, same weights at the end."""
    if workers:
        root = write_folder(tmp_path / "images", count=9)
        options = {"name": "folder", "image_size": 16, "batch_size": 4, "mean": 0, "std": 1}
        data = ImageFolderData(root=root, augment={"scale": [0.3, 1], "flip": True}, num_workers=1, **options)
    else:
        data = memory_data(count=16, augment=AUGMENT, batch_size=4, val_fraction=0.3)
    whole = fit(data, tmp_path / "saved", every_n_train_steps=1)
    checkpoints = sorted((tmp_path / "saved").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    assert len(checkpoints) == len(whole.seen)
    assert len(set(whole.seen)) == len(whole.seen) == 3 * len(data.train_dataloader())
    for done, checkpoint in list(enumerate(checkpoints, 1))[:: 3 if workers else 1]:
        resumed = fit(data, tmp_path, resume=checkpoint)
        assert [seen[2] for seen in resumed.seen] == [seen[2] for seen in whole.seen[done:]]
        assert torch.equal(resumed.layer.weight, whole.layer.weight)
    assert not multiprocessing.active_children()  # Lightning has ended the workers
