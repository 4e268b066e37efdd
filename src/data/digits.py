"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 pixels that need no download."""

from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits

from src.data.splits import stratified_split
from src.data.tensor_data import LabelledImages, TensorData

TEST_SHARE = 0.25
TEST_SEED = 0  # the set comes without a test split: this one is the same in every run, whatever the user's seed


class DigitsData(TensorData):
    """10 classes, 1 channel, values 0..16 scaled to 0..255 and rounded; a fixed stratified quarter is for testing."""

    def read_train(self) -> tuple[LabelledImages, Sequence[str]]:
        return _digits(test=False), [str(digit) for digit in range(10)]

    def read_test(self) -> LabelledImages:
        return _digits(test=True)


def _digits(test: bool) -> LabelledImages:
    bunch = load_digits()
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    indices = stratified_split(labels, TEST_SHARE, TEST_SEED)[test]
    images = (torch.as_tensor(bunch.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    return LabelledImages(images[indices], labels[indices])
