import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from src.data.folder_transforms import FolderAugmentation, evaluation_transform, training_transform
from src.data.rand_augment import RandAugment
from tests.data.sets import pixels

RANDAUGMENT = {"randaugment": RandAugment()}
IMAGE = Image.fromarray(pixels(1, 40, 60, 3)[0].numpy())


def test_evaluation_cuts_the_centre_of_the_resized_image():
    image = evaluation_transform((16, 16), 20)(IMAGE)
    assert (image.dtype, image.shape) == (torch.uint8, (3, 16, 16))
    expected = IMAGE.resize((30, 20), Image.Resampling.BILINEAR).crop((7, 2, 23, 18))
    assert torch.equal(image, pil_to_tensor(expected))


def test_without_augmentation_training_sees_what_evaluation_sees():
    plain = training_transform((16, 16), 20, FolderAugmentation())
    assert torch.equal(plain(IMAGE), evaluation_transform((16, 16), 20)(IMAGE))


def test_every_augmentation_changes_the_image():
    plain = evaluation_transform((16, 16), 20)(IMAGE)
    for option in ({"scale": (0.1, 0.5)}, {"flip": True}, {"jitter": (0.4, 0.4, 0.4)}, RANDAUGMENT):
        transform = training_transform((16, 16), 20, FolderAugmentation(**option))
        images = [transform(IMAGE) for _ in range(12)]
        assert all(image.shape == plain.shape for image in images)
        assert any(not torch.equal(image, plain) for image in images)
