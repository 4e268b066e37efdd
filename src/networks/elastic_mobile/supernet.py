"""Elastic mobile super-nets: one set of weights for all networks of a space (Once-for-All, AttentiveNAS)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import check_range, check_whole
from src.networks.elastic_mobile.blocks import convolved, initialised, resized
from src.networks.elastic_mobile.description import ElasticMacro
from src.networks.elastic_mobile.elastic import ElasticBlock, ElasticHead, first_layers
from src.networks.elastic_mobile.macro import check_genotype, factors, largest, macro_of
from src.networks.elastic_mobile.subnet import Subnet


class ElasticNetwork(nn.Module):
    """The weights of one width multiplier."""

    def __init__(
        self, macro: ElasticMacro, multiplier: float, num_classes: int, in_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.macro, self.multiplier = macro, multiplier
        widths = self._channels(macro.stems)
        self.stem = convolved(in_channels, widths[-1], 3, macro.stem_stride, macro.activation, macro.epsilon)
        self.stages = nn.ModuleList()
        for stage in macro.stages:
            channels = self._channels(stage.widths)
            blocks = nn.ModuleList([ElasticBlock(macro, stage, widths, channels, first=True)])
            for _ in range(1, stage.depths[-1]):
                blocks.append(ElasticBlock(macro, stage, channels, channels, first=False))
            self.stages.append(blocks)
            widths = channels
        middle = self._head_middle(macro.stages[-1].widths[-1])
        last = macro.channels(macro.lasts[-1], multiplier)
        self.head = ElasticHead(macro, widths[-1], middle, last, num_classes, dropout)
        initialised(self)

    def forward(self, images: Tensor, genotype: Mapping[str, Any]) -> Tensor:
        side, macro = genotype["resolution"], self.macro
        if images.shape[-2:] != (side, side):
            images = resized(images, side)
        x = first_layers(self.stem, images, macro.channels(genotype["stem"], self.multiplier))
        chosen = zip(self.stages, genotype["widths"], genotype["kernels"], genotype["expansions"], strict=True)
        for blocks, width, kernels, expansions in chosen:
            channels = macro.channels(width, self.multiplier)
            for block, kernel, expansion in zip(blocks, kernels, expansions, strict=False):
                x = block(x, channels, kernel, expansion)
        last = macro.channels(genotype["last"], self.multiplier)
        return self.head(x, self._head_middle(genotype["widths"][-1]), last)

    def tensor_of(self, name: str, shape: Sequence[int]) -> Tensor:
        """The part of the weights or statistics that a sub-net has under `name`, in this shape."""
        owner, _, _ = name.rpartition(".depthwise.conv.weight")
        if owner:
            return self.get_submodule(owner).kernels(shape[0], shape[-1])
        path, _, last = name.rpartition(".")
        return getattr(self.get_submodule(path), last)[tuple(slice(size) for size in shape)]

    def _channels(self, widths: Sequence[int]) -> list[int]:
        return [self.macro.channels(width, self.multiplier) for width in widths]

    def _head_middle(self, width: int) -> int:
        return self.macro.head_middle(width, self.multiplier) if self.macro.head_expansion else 0


class ElasticSupernet(nn.Module):
    """All networks of a space in one: (B, in_channels, H, W) -> (B, num_classes), by the sub-net of a genotype.

    A sub-net runs with the first channels of every layer, the first blocks of every stage and kernels within the
    largest ones; its batch norms write into the first channels of shared running statistics. What it leaves out gets no
    gradient.

    Args:
        space: a named space ("ofa_mobilenet_v3", "ofa_proxyless", "alphanet", "small_images", "tiny_images"), or a
            mapping: `family` with what is to be other than there, or all fields of `ElasticMacro`.
        num_classes, in_channels: of the classifier and of the images.
        widths: width multipliers, each with weights of its own; those of the space if left out.
        dropout: before the classifier.

    Raises:
        UserError: a value is not allowed.
    """

    def __init__(
        self,
        space: str | Mapping,
        num_classes: int = 10,
        in_channels: int = 3,
        widths: Sequence[float] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = check_whole("model.num_classes", num_classes, 1)
        self.in_channels = check_whole("model.in_channels", in_channels, 1)
        self.dropout = check_range("model.dropout", dropout, 0, 1)
        self.macro = macro_of(space, **({} if widths is None else {"multipliers": factors("model.widths", widths)}))
        if widths is not None:
            named = {"family": space} if isinstance(space, str) else dict(space)
            space = {**named, "multipliers": list(self.macro.multipliers)}
        self.space = space if isinstance(space, str) else dict(space)
        self.largest = largest(self.macro)
        self.networks = nn.ModuleList(
            ElasticNetwork(self.macro, multiplier, num_classes, in_channels, dropout)
            for multiplier in self.macro.multipliers
        )

    def forward(self, images: Tensor, genotype: Mapping[str, Any] | None = None) -> Tensor:
        """The sub-net of `genotype`, the largest one if left out, on images (B, in_channels, H, W) of any size.

        Raises `UserError` where the genotype is not of the space.
        """
        genotype = self.largest if genotype is None else check_genotype(self.macro, genotype)
        return self.network_of(genotype)(images, genotype)

    def network_of(self, genotype: Mapping[str, Any]) -> ElasticNetwork:
        """The weights that this genotype's multiplier has."""
        return self.networks[self.macro.multipliers.index(genotype["width"])]

    def subnet_config(self, genotype: Mapping[str, Any]) -> dict[str, Any]:
        """The model config of the sub-net of `genotype`."""
        return {
            "_target_": f"{Subnet.__module__}.{Subnet.__qualname__}",
            "space": self.space,
            "genotype": check_genotype(self.macro, genotype),
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "dropout": self.dropout,
        }

    @torch.no_grad()
    def extracted(self, genotype: Mapping[str, Any]) -> Subnet:
        """The sub-net of `genotype` with copies of its weights and statistics, on their device and in the mode of this.

        In evaluation mode it computes what the super-net computes.
        """
        config = self.subnet_config(genotype)
        with torch.device("meta"):
            subnet = Subnet(**{name: value for name, value in config.items() if name != "_target_"})
        network = self.network_of(config["genotype"])
        state = {name: network.tensor_of(name, meta.shape).clone() for name, meta in subnet.state_dict().items()}
        subnet.load_state_dict(state, assign=True)
        return subnet.train(self.training)
