import atexit
import multiprocessing
import os
import shutil
import signal

import pytest
import torch

from src.data.image_folder import ImageFolderData
from src.errors import UserError
from tests.data.sets import trainer, write_folder


def folder_data(root, **options):
    defaults = {"name": "folder", "image_size": 16, "batch_size": 4, "num_workers": 0, "val_fraction": 0.2}
    data = ImageFolderData(root=str(root), **{**defaults, **options})
    data.prepare_data()
    data.setup()
    return data


def epoch(loader, number=0):
    loader.sampler.set_epoch(number)
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    return images, labels


AUGMENT = {"scale": [0.3, 1.0], "flip": True, "jitter": [0.4, 0.4, 0.4]}


def test_split_shape_and_classes(tmp_path):
    data = folder_data(write_folder(tmp_path))
    assert (data.train_size, data.val_size, data.num_classes) == (16, 4, 2)
    assert (data.input_shape, data.channels, data.class_names) == ((3, 16, 16), 3, ["ant", "bee"])
    assert set(data._train.paths).isdisjoint(data._val.paths)
    assert all("/train/" in path for path in data._train.paths + data._val.paths)
    images, labels = epoch(data.val_dataloader())
    assert images.dtype == torch.float32
    assert labels.tolist() == [0, 0, 1, 1]


def test_images_carry_the_label_of_their_folder(tmp_path):
    images, labels = epoch(folder_data(write_folder(tmp_path), mean=0, std=1, augment=AUGMENT).train_dataloader())
    assert torch.equal(images.mean((2, 3))[:, :2].argmax(1), labels)


def test_the_same_images_with_workers_and_without(tmp_path):
    """The draws are keyed by the image, so the number of processes changes nothing, nor does the global generator."""
    root = write_folder(tmp_path)
    alone = folder_data(root, augment=AUGMENT).train_dataloader()
    first = epoch(alone, 2)
    torch.rand(5)
    state = torch.get_rng_state()
    shared = epoch(folder_data(root, augment=AUGMENT, num_workers=2).train_dataloader(), 2)
    assert torch.equal(first[0], shared[0])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first[0].sort(0).values, epoch(alone, 3)[0].sort(0).values)


def test_workers_are_ended_before_torch_waits_for_them(tmp_path, monkeypatch):
    """Its hook at exit waits 5 seconds for each worker that still runs; hooks run from the last to the first."""
    hooks = []
    monkeypatch.setattr(atexit, "register", lambda hook, *arguments: hooks.append((hook, arguments)))
    loader = folder_data(write_folder(tmp_path), num_workers=2).train_dataloader()
    first = epoch(loader)[0]
    assert len(multiprocessing.active_children()) == 2
    hook, arguments = hooks[-1]
    hook(*arguments)
    assert not multiprocessing.active_children()
    assert torch.equal(first, epoch(loader)[0])
    loader.close()


def test_workers_outlive_the_signals_that_reach_the_whole_run(tmp_path):
    """Ctrl-C and a batch system signal every process; without its workers the run could not end its step and save."""
    loader = folder_data(write_folder(tmp_path), num_workers=1).train_dataloader()
    batches = iter(loader)
    next(batches)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(loader._iterator._workers[0].pid, number)
    assert len(list(batches)) == len(loader) - 1
    loader.close()


def test_validation_images_are_not_augmented(tmp_path):
    data = folder_data(write_folder(tmp_path), augment=AUGMENT)
    loader = data.val_dataloader()
    assert torch.equal(epoch(loader, 0)[0], epoch(loader, 1)[0])
    plain = folder_data(data.root, mean=data.mean, std=data.std)
    assert torch.equal(epoch(plain.val_dataloader())[0], epoch(loader)[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_what_every_process_evaluates_by_itself(tmp_path, workers):
    """The whole validation part on each of several processes, and training images as evaluation sees them."""
    data = folder_data(write_folder(tmp_path), augment=AUGMENT, num_workers=workers, eval_batch_size=4)
    expected = epoch(data.val_dataloader())
    data.trainer = trainer(1, 2)
    whole = [torch.cat(parts) for parts in zip(*data.whole_validation(), strict=True)]
    assert all(map(torch.equal, whole, expected))
    plain = folder_data(data.root, mean=data.mean, std=data.std, eval_batch_size=4)
    first, second = data.calibration_batches(10), plain.calibration_batches(10)
    assert [len(labels) for _, labels in first] == [4, 3, 3]
    assert all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))
    assert not multiprocessing.active_children()


def test_the_test_folder_is_listed_by_the_test_loader_only(tmp_path):
    root = write_folder(tmp_path)
    for path in (root / "val").glob("*/*.jpg"):
        path.write_bytes(b"poison")
    data = folder_data(root, eval_batch_size=7)
    assert len(epoch(data.train_dataloader())[1]) + len(epoch(data.val_dataloader())[1]) == 20
    assert data._test is None
    with pytest.raises(UserError, match=r"the image .*/val/ant/0\.jpg cannot be read, it is damaged"):
        epoch(data.test_dataloader())


def test_with_both_folders_val_validates_and_test_tests(tmp_path):
    data = folder_data(write_folder(tmp_path, splits=("train", "val", "test")))
    assert (data.train_size, data.val_size) == (20, 20)
    data.test_dataloader()
    assert all("/val/" in path for path in data._val.paths)
    assert all("/test/" in path for path in data._test.paths)


def test_an_unlabelled_test_folder_is_not_used(tmp_path):
    """ImageNet's test images have no classes; its `val` is what results are reported on."""
    root = write_folder(tmp_path)
    (root / "test").mkdir()
    data = folder_data(root)
    data.test_dataloader()
    assert (data.val_size, data._test.paths[0]) == (4, str(root / "val" / "ant" / "0.jpg"))


def test_ranks_share_the_images(tmp_path):
    data = folder_data(write_folder(tmp_path), batch_size=2)
    seen = []
    for rank in (0, 1):
        data.trainer = trainer(rank, 2)
        seen += [index for batch in data.train_dataloader().sampler.batches() for index in batch.tolist()]
    assert sorted(seen) == list(range(16))


def test_grey_and_measured_statistics(tmp_path):
    data = folder_data(write_folder(tmp_path), channels=1)
    images = epoch(data.train_dataloader())[0]
    assert images.shape == (16, 1, 16, 16)
    assert abs(images.mean()) < 1e-4
    assert abs(images.std(correction=0) - 1) < 1e-3


@pytest.mark.parametrize(
    ("ruin", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "train"), r"/train does not exist; data\.root must hold train/<class>/"),
        (lambda root: shutil.rmtree(root / "val"), r"/val does not exist; data\.root must hold"),
        (lambda root: [shutil.rmtree(p) for p in (root / "val").iterdir()], r"/val has no class folders"),
        (lambda root: [shutil.rmtree(p) for p in (root / "train").iterdir()], r"/train has no class folders"),
        (lambda root: [p.unlink() for p in (root / "train" / "bee").iterdir()], r"/train/bee has no image"),
        (lambda root: (root / "val" / "cat").mkdir(), r"/val has the class folder cat, .*/train has not"),
        (lambda root: shutil.rmtree(root / "val" / "ant"), r"/train has the class folder ant, .*/val has not"),
    ],
)
def test_a_folder_that_is_not_as_it_must_be(tmp_path, ruin, sentence):
    root = write_folder(tmp_path)
    ruin(root)
    with pytest.raises(UserError, match=sentence):
        folder_data(root)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_sentence(tmp_path, workers):
    root = write_folder(tmp_path)
    for path in (root / "train").glob("*/*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    data = folder_data(root, num_workers=workers, mean=0.5, std=0.5)
    with pytest.raises(UserError, match=r"^the image .*/train/.*\.jpg cannot be read, it is damaged") as error:
        epoch(data.train_dataloader())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": None}, r"needs data\.image_size"),
        ({"eval_resize": 15}, r"data\.eval_resize=15 .* from 16"),
        ({"num_workers": -1}, r"data\.num_workers=-1"),
        (
            {"augment": {"crop": 4}},
            r"data\.augment\.crop is not known; allowed: cutmix, flip, jitter, randaugment, scale",
        ),
        ({"augment": {"scale": [0, 1]}}, r"data\.augment\.scale=\[0, 1\] is not allowed"),
        ({"augment": {"scale": 0.5}}, r"data\.augment\.scale=0\.5 is not allowed"),
        ({"augment": {"jitter": [0.4, 0.4]}}, r"data\.augment\.jitter=\[0\.4, 0\.4\] is not allowed"),
        ({"augment": {"flip": "yes"}}, r"data\.augment\.flip='yes'"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        folder_data(tmp_path, **options)
