"""A sub-net of an elastic mobile super-net as a network of its own."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from src.errors import check_range, check_whole
from src.networks.elastic_mobile.blocks import MobileBlock, MobileHead, convolved, initialised, resized
from src.networks.elastic_mobile.macro import check_genotype, macro_of


class Subnet(nn.Module):
    """The network of a genotype: (B, in_channels, H, W) -> (B, num_classes), of images of any size.

    Args:
        space: a named space, or a mapping (`macro.macro_of`).
        genotype: one of its genotypes.
        num_classes, in_channels: of the classifier and of the images.
        dropout: before the classifier.

    Raises:
        UserError: a value is not allowed.
    """

    def __init__(
        self,
        space: str | Mapping,
        genotype: Mapping[str, Any],
        num_classes: int = 10,
        in_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_whole("model.num_classes", num_classes, 1)
        check_whole("model.in_channels", in_channels, 1)
        check_range("model.dropout", dropout, 0, 1)
        macro = macro_of(space)
        genotype = check_genotype(macro, genotype)
        multiplier = genotype["width"]
        self.genotype = genotype
        self.resolution = genotype["resolution"]
        width = macro.channels(genotype["stem"], multiplier)
        self.stem = convolved(in_channels, width, 3, macro.stem_stride, macro.activation, macro.epsilon)
        self.stages = nn.ModuleList()
        chosen = zip(macro.stages, genotype["widths"], genotype["kernels"], genotype["expansions"], strict=True)
        for stage, base, kernels, expansions in chosen:
            blocks = nn.Sequential()
            channels, stride = macro.channels(base, multiplier), stage.stride
            for kernel, expansion in zip(kernels, expansions, strict=True):
                shape = (width, channels, kernel, expansion, stride)
                blocks.append(MobileBlock(macro, *shape, stage.activation, stage.squeeze))
                width, stride = channels, 1
            self.stages.append(blocks)
        middle = macro.head_middle(genotype["widths"][-1], multiplier) if macro.head_expansion else 0
        last = macro.channels(genotype["last"], multiplier)
        self.head = MobileHead(macro, width, middle, last, num_classes, dropout)
        initialised(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(resized(images, self.resolution))
        for stage in self.stages:
            x = stage(x)
        return self.head(x)
