"""MobileNetV2 as it is trained on CIFAR-10: torchvision's, with other strides."""

import torchvision
from torch import nn

_STRIDES = (1, 1, 1, 1, 2, 1, 2, 1)  # of the stem and of the first block of each stage
_BLOCKS = (1, 1, 2, 3, 4, 3, 3, 1)


def mobilenet_v2_cifar(num_classes: int = 10) -> nn.Module:
    """Takes images of 3 x 32 x 32."""
    model = torchvision.models.mobilenet_v2(num_classes=num_classes)
    strides = [stride if block == 0 else 1 for stride, n in zip(_STRIDES, _BLOCKS, strict=True) for block in range(n)]
    for part, stride in zip(model.features, strides, strict=False):
        for module in part.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.stride = (stride, stride)
    return model
