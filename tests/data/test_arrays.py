import numpy as np
import pytest
import torch

from src.data.arrays import ArraysData, channel_axis, channels_first
from src.errors import UserError
from tests.data.sets import pixels


def written(folder, remove=(), **changes):
    """A valid file with 40 training and 12 test images of 3 classes, and then the changes."""
    arrays = {"train_x": pixels(40, 8, 9, 3).numpy(), "train_y": np.arange(40) % 3}
    arrays |= {"test_x": pixels(12, 8, 9, 3, seed=1).numpy(), "test_y": np.arange(12, dtype=np.uint8) % 3} | changes
    for key in remove:
        del arrays[key]
    np.savez_compressed(folder / "set.npz", **arrays)
    return folder / "set.npz"


def loaded(path, **options):
    data = ArraysData(path=path, name="arrays", **{"batch_size": 4, **options})
    data.prepare_data()
    data.setup()
    return data


def test_a_file_is_split_and_its_test_part_kept_apart(tmp_path):
    data = loaded(written(tmp_path), val_fraction=0.25, mean=0, std=1)
    assert (data.train_size, data.val_size, data.num_classes, data.input_shape) == (30, 10, 3, (3, 8, 9))
    images, labels = next(iter(data.test_dataloader()))
    assert torch.allclose(images, pixels(12, 8, 9, 3, seed=1).permute(0, 3, 1, 2) / 255)
    assert labels.tolist() == [0, 1, 2] * 4


def test_its_validation_arrays_are_used(tmp_path):
    data = loaded(written(tmp_path, val_x=pixels(6, 8, 9, 3, seed=2).numpy(), val_y=np.arange(6) % 3))
    assert (data.train_size, data.val_size) == (40, 6)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((9, 8, 8), 0), ((9, 8, 8, 3), 3), ((9, 3, 8, 8), 1), ((9, 3, 8, 3), None), ((9, 8, 8, 4), None)],
)
def test_the_rule_for_the_channels(shape, axis):
    assert channel_axis(shape) == axis


def test_the_three_layouts_hold_the_same_images():
    grey = pixels(5, 8, 9).numpy()
    assert torch.equal(channels_first(grey), channels_first(grey[..., None]))
    assert torch.equal(channels_first(grey), channels_first(grey[:, None]))


def rows(count, number):
    """Labels (count, number) of 0 and 1: the binary digits of the images' indices."""
    return np.arange(count)[:, None] >> np.arange(number) & 1


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_several_labels_an_image(tmp_path, kind):
    changes = {"train_y": rows(40, 3).astype(kind), "test_y": rows(12, 3).astype(kind)}
    data = loaded(written(tmp_path, **changes), val_fraction=0.2, limit=16, mean=0, std=1)
    assert (data.train_size, data.val_size, data.num_classes, data.targets) == (16, 8, 3, "attributes")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
        given = {image.numpy().tobytes(): row for image, row in zip(pixels(40, 8, 9, 3), rows(40, 3), strict=True)}
        for image, label in zip((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1), labels, strict=True):
            assert label.tolist() == given[image.contiguous().numpy().tobytes()].tolist()
    tested = torch.cat([labels for _, labels in data.test_dataloader()])
    assert tested.dtype == torch.int64
    assert tested.tolist() == rows(12, 3).tolist()


def test_a_wrong_label_among_several_of_a_test_image_is_found(tmp_path):
    data = loaded(written(tmp_path, train_y=rows(40, 3), test_y=rows(12, 3) - 1))
    with pytest.raises(UserError, match=r"test labels hold -1; where an image has several labels each must be 0 or 1"):
        data.test_dataloader()


class Trap:
    """Unpickled, it fails the test: a .npz from a stranger must not run code here."""

    def __reduce__(self):
        return (pytest.fail, ("pickle was loaded",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"remove": ["test_y"]}, r"has no array test_y; it has test_x, train_x, train_y"),
        ({"val_x": np.zeros((2, 8, 9, 3), np.uint8)}, r"has no array val_y"),
        ({"trian_x": np.zeros(1)}, r"trian_x is not known; did you mean 'train_x'"),
        ({"train_x": np.zeros((40, 8, 9, 3))}, r"train_x is float64; images must be uint8"),
        ({"train_x": np.zeros((40, 8, 9, 2), np.uint8)}, r"train_x has the shape \(40, 8, 9, 2\)"),
        ({"train_x": np.zeros((40, 3, 9, 3), np.uint8)}, r"one axis only that can be C"),
        ({"train_x": np.zeros((0, 8, 9), np.uint8)}, r"no axis of length 0"),
        ({"train_y": np.zeros(40)}, r"train_y is float64 \(40,\); labels must be integers of shape \(N,\)"),
        ({"train_y": np.zeros((40, 1), int)}, r"train_y is int64 \(40, 1\)"),
        ({"train_y": np.zeros((40, 2), int)}, r"test_y are \(N,\), those of train_y \(N, 2\); they must be alike"),
        ({"test_y": np.zeros((12, 2), int)}, r"test_y are \(N, 2\), those of train_y \(N,\); they must be alike"),
        ({"train_y": rows(40, 3), "test_y": rows(12, 2)}, r"test_y are \(N, 2\), those of train_y \(N, 3\)"),
        ({"train_y": rows(40, 3) * 2, "test_y": rows(12, 3)}, r"training labels hold 2; .* each must be 0 or 1"),
        ({"train_y": rows(40, 7), "test_y": rows(12, 7)}, r"attribute 6 is 0 on every training image"),
        ({"train_y": np.arange(39)}, r"train_x has 40 images, but train_y has 39 labels"),
        ({"test_x": np.zeros((12, 8, 9), np.uint8)}, r"test_x are 8 x 9 pixels in 1 channels, those of train_x"),
        ({"train_y": np.array([Trap()] * 40)}, r"train_y is object .* labels must be integers"),
        ({"train_y": np.arange(40) % 3 + 1}, r"training labels are 1, 2, 3; they must be 0, 1"),
    ],
)
def test_a_wrong_array_is_named_before_any_training(tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        loaded(written(tmp_path, **changes))


def test_a_wrong_test_label_is_found_when_the_test_split_is_opened(tmp_path):
    data = loaded(written(tmp_path, test_y=np.full(12, 3)))
    with pytest.raises(UserError, match="test labels hold 3"):
        data.test_dataloader()


def test_no_path_no_file_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"needs data\.path=<file>\.npz"):
        ArraysData(name="arrays")
    with pytest.raises(UserError, match=rf"{tmp_path}/none\.npz does not exist; write it with"):
        loaded(tmp_path / "none.npz")
    with pytest.raises(UserError, match=rf"there is no folder {tmp_path}/none"):
        loaded(tmp_path / "none" / "set.npz")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"text", lambda b: flipped(b)])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = written(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"data\.path: .*set\.npz.* damaged"):
        loaded(path)


def flipped(content):
    """One byte changed inside the compressed training images."""
    place = len(content) // 4
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def test_the_header_check_does_not_read_the_test_images(tmp_path, monkeypatch):
    read = []
    original = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: read.append(key) or original(self, key))
    loaded(written(tmp_path))
    assert read == ["train_x", "train_y"]
