import pytest
import torch

from src.data.augmentation import Augmentation, cropped, outside_holes
from src.errors import UserError
from tests.data.sets import pixels


def one_by_one(images, corners, flips, padding):
    """The definition, an image and a pixel at a time."""
    result = torch.zeros_like(images)
    height, width = images.shape[-2:]
    for b, (top, left) in enumerate(corners.tolist()):
        for row in range(height):
            for column in range(width):
                source_row, source_column = top + row - padding, left + column - padding
                if 0 <= source_row < height and 0 <= source_column < width:
                    target = width - 1 - column if flips[b] else column
                    result[b, :, row, target] = images[b, :, source_row, source_column]
    return result


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 7)])
@pytest.mark.parametrize("padding", [0, 2])
def test_a_whole_batch_is_cropped_and_flipped_as_image_by_image(shape, padding):
    images = pixels(20, *shape)
    draws = Augmentation(crop=padding, flip=True).draw(20, *shape[1:], torch.Generator().manual_seed(0))
    assert 0 < draws.flips.sum() < 20
    expected = one_by_one(images, draws.corners, draws.flips, padding)
    assert torch.equal(cropped(images, draws.corners, draws.flips, padding), expected)


def test_every_window_and_both_orientations_are_drawn_equally_often():
    draws = Augmentation(crop=1, flip=True).draw(9000, 8, 8, torch.Generator().manual_seed(0))
    counts = torch.bincount(draws.corners[:, 0] * 3 + draws.corners[:, 1], minlength=9)
    assert ((counts - 1000).abs() < 150).all()
    assert abs(draws.flips.float().mean() - 0.5) < 0.03


def test_holes_are_squares_cut_off_at_the_border():
    visible = outside_holes(torch.tensor([[4, 4], [0, 7], [7, 0]]), 4, 8, 8)[:, 0]
    assert (~visible).sum((1, 2)).tolist() == [16, 6, 6]
    assert not visible[0, 2:6, 2:6].any()
    assert not visible[1, :2, 5:].any()
    assert visible[1, 2:].all()


def test_turning_the_flip_on_does_not_move_the_crops():
    """Settings that are compared with the same seed should differ in what was set, and in nothing else."""
    plain, flipped = (
        Augmentation(crop=2, flip=flip).draw(9, 8, 8, torch.Generator().manual_seed(3)) for flip in (False, True)
    )
    assert torch.equal(plain.corners, flipped.corners)
    assert not plain.flips.any()


@pytest.mark.parametrize("options", [None, {}, {"crop": 0, "flip": False, "cutout": None}])
def test_nothing_to_do_is_none(options):
    assert Augmentation.from_options(options) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"crpo": 4}, r"data\.augment\.crpo is not known; did you mean 'crop'\?"),
        ({"crop": -1}, r"data\.augment\.crop=-1 is not allowed"),
        ({"cutout": 2.5}, r"data\.augment\.cutout=2\.5 is not allowed"),
        ({"flip": 1}, r"data\.augment\.flip=1 .* true or false"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    with pytest.raises(UserError, match=sentence):
        Augmentation.from_options(options)


def test_a_crop_larger_than_the_image_is_refused():
    """It could cut windows that hold nothing but black."""
    with pytest.raises(UserError, match=r"crop=8 .* 8 x 9 pixels.* 0 to 7"):
        Augmentation(crop=8).check(8, 9)
