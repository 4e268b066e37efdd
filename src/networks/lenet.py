"""LeNet-300-100 and LeNet-5, on which sparse variational dropout was measured (Molchanov et al. 2017, section 5.2).

The networks are those of LeCun et al. 1998, in the sizes of the pruning literature: 784-300-100-10, and Caffe's LeNet-5
of 20 and 50 filters and 500 hidden units.
"""

import torch
from torch import Tensor, nn

from src.errors import UserError, check_whole


class LeNet300100(nn.Module):
    """Two hidden layers of 300 and 100 units: (B, C, H, W) -> (B, num_classes).

    Args:
        num_classes: outputs.
        in_channels: C of the images.
        image_size: H = W of the images.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
        for name, value in sizes.items():
            check_whole(f"model.{name}", value, 1)
        self.fc1 = nn.Linear(in_channels * image_size**2, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.fc1(torch.flatten(images, 1)))
        return self.fc3(self.relu(self.fc2(x)))


class LeNet5(nn.Module):
    """Two 5x5 convolutions, each with a max-pool, and 500 hidden units: (B, C, H, W) -> (B, num_classes).

    Arguments are those of `LeNet300100`; raises `UserError` for images smaller than 16x16, of which nothing is left.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        check_whole("model.num_classes", num_classes, 1)
        check_whole("model.in_channels", in_channels, 1)
        check_whole("model.image_size", image_size, 1)
        left = ((image_size - 4) // 2 - 4) // 2  # two 5x5 convolutions without padding, each followed by a pool
        if left < 1:
            raise UserError(
                f"model.image_size={image_size} is too small for LeNet-5; it takes images of at least 16x16"
            )
        self.conv1 = nn.Conv2d(in_channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(50 * left**2, 500)
        self.fc2 = nn.Linear(500, num_classes)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.conv2(self.pool(self.conv1(images))))
        return self.fc2(self.relu(self.fc1(torch.flatten(x, 1))))
