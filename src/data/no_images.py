"""What stands in the place of data where nothing is looked at: all that is known of the samples is stored outputs."""

from collections.abc import Iterable

from pytorch_lightning import LightningDataModule

from src.errors import check_whole


class NoImages(LightningDataModule):
    """Has no batches, and a shape of images that only says so.

    Args:
        num_classes: of the stored outputs.
        name: what reports call it.
    """

    batch_size = 1
    input_shape = (1, 1, 1)
    mean, std = (0.0,), (1.0,)
    targets = "class"
    class_names = None
    train_size = val_size = 0

    def __init__(self, num_classes: int, name: str = "stored outputs") -> None:
        super().__init__()
        self.num_classes, self.name = check_whole("data.num_classes", num_classes, 1), name

    def setup(self, stage: str | None = None) -> None:
        """There is nothing to read."""

    def train_dataloader(self) -> Iterable:
        return []

    def val_dataloader(self) -> Iterable:
        return []

    def test_dataloader(self) -> Iterable:
        return []

    def whole_validation(self) -> Iterable:
        return []
