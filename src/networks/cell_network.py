"""Networks of DARTS cells: the skeleton, and the evaluation network of a genotype.

Liu et al. 2019, https://arxiv.org/abs/1806.09055, sections 2.1 and 3.1: a 3x3 stem, L cells that each read the outputs
of the two cells before, reduction cells at a third and at two thirds of the depth, global pooling and a classifier.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, cat, nn
from torchvision.ops import StochasticDepth

from src.errors import UserError, check_flag, check_range, check_whole
from src.networks.cell_operations import FactorizedReduce, Preprocess, cell_operation
from src.networks.genotypes import checked_genotype

MOST_CHANNELS, MOST_LAYERS = (
    4096,
    1000,
)  # beyond them something was mistyped, and making the network would take for ever


class CellShape(NamedTuple):
    """What a cell reads and makes: the channels of the outputs of the two cells before and those of its own nodes."""

    before_last: int
    last: int
    channels: int
    reduces: bool
    after_reduction: bool

    @property
    def kind(self) -> str:
        return "reduce" if self.reduces else "normal"

    def preprocesses(self, affine: bool) -> tuple[nn.Module, nn.Module]:
        """Of both inputs; the older one is still larger where the cell before is a reduction."""
        first = FactorizedReduce if self.after_reduction else Preprocess
        return first(self.before_last, self.channels, affine), Preprocess(self.last, self.channels, affine)


class CellSkeleton(nn.Module):
    """Stem, cells, pooling and classifier; `cells` are made by `cell_of`: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        outputs: how many nodes each kind of cell concatenates, {"normal": ., "reduce": .}.
        Others: as `CellNetwork` has them.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        num_classes: int,
        in_channels: int,
        reductions: Sequence[int] | None,
        stem_multiplier: int,
        outputs: Mapping[str, int],
        cell_of: Callable[[CellShape], nn.Module],
    ) -> None:
        super().__init__()
        if check_whole("model.channels", channels, 2, MOST_CHANNELS) % 2:
            raise UserError(f"model.channels={channels} is not allowed; it must be even, {channels + 1} say")
        check_whole("model.layers", layers, 1, MOST_LAYERS)
        check_whole("model.num_classes", num_classes, 1)
        check_whole("model.in_channels", in_channels, 1)
        check_whole("model.stem_multiplier", stem_multiplier, 1, 100)
        self.reductions = _reductions(reductions, layers)
        stem = channels * stem_multiplier
        self.stem = nn.Sequential(nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList()
        before_last, last, after_reduction = stem, stem, False
        for layer in range(layers):
            reduces = layer in self.reductions
            channels = 2 * channels if reduces else channels
            shape = CellShape(before_last, last, channels, reduces, after_reduction)
            self.cells.append(cell_of(shape))
            before_last, last, after_reduction = last, outputs[shape.kind] * channels, reduces
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, num_classes)

    def head(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        return self.classifier(self.pool(x).flatten(1))


class Cell(nn.Module):
    """A cell of a genotype: the outputs of the two cells before -> (B, nodes * channels, H / s, W / s)."""

    def __init__(self, genotype: Mapping[str, Any], shape: CellShape, options: Mapping[str, bool], drop: float) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = shape.preprocesses(options["affine"])
        self.inputs = [[state for _, state in node] for node in genotype[shape.kind]]
        self.concat = list(genotype[f"{shape.kind}_concat"])
        self.nodes = nn.ModuleList()
        for node in genotype[shape.kind]:
            operations = nn.ModuleList()
            for name, state in node:
                stride = 2 if shape.reduces and state < 2 else 1
                operation = cell_operation(name, shape.channels, stride, **options)
                if drop and not isinstance(operation, nn.Identity):
                    operation = nn.Sequential(operation, StochasticDepth(drop, "row"))
                operations.append(operation)
            self.nodes.append(operations)

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for operations, inputs in zip(self.nodes, self.inputs, strict=True):
            total = None
            for operation, state in zip(operations, inputs, strict=True):
                y = operation(states[state])
                total = y if total is None else total + y
            states.append(total)
        return cat([states[state] for state in self.concat], dim=1)


class CellNetwork(CellSkeleton):
    """The evaluation network of a genotype: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        genotype: {"normal": [node, ...], "reduce": [node, ...]} (see `src.networks.genotypes`), or the name of a
            published one.
        channels: of the nodes of the first cell, even; each reduction cell doubles them.
        layers: the number of cells L.
        reductions: which cells reduce; None: L // 3 and 2 L // 3.
        stem_multiplier: the stem has so many times the channels.
        affine, pool_norm, normalise_outputs: whether batch norms in cells have parameters, stand behind pools and stand
            behind skip connections; the values of the evaluation network are the defaults.
        drop_path: the probability that an operation that is no identity is left out, of each image and in training
            only; what is left is scaled (Larsson et al. 2017, https://arxiv.org/abs/1605.07648).

    Raises:
        UserError: a value is not allowed, named as the config has it (`model.reductions[0]`).
    """

    def __init__(
        self,
        genotype: Mapping[str, Any] | str,
        channels: int = 36,
        layers: int = 20,
        num_classes: int = 10,
        in_channels: int = 3,
        reductions: Sequence[int] | None = None,
        stem_multiplier: int = 3,
        affine: bool = True,
        pool_norm: bool = False,
        normalise_outputs: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        genotype = checked_genotype(genotype)
        flags = {"affine": affine, "pool_norm": pool_norm, "normalise_outputs": normalise_outputs}
        for name, value in flags.items():
            check_flag(f"model.{name}", value)
        check_range("model.drop_path", drop_path, 0, 0.999)
        options = {"affine": affine, "pool_norm": pool_norm, "skip_norm": normalise_outputs}
        super().__init__(
            channels,
            layers,
            num_classes,
            in_channels,
            reductions,
            stem_multiplier,
            {kind: len(genotype[f"{kind}_concat"]) for kind in ("normal", "reduce")},
            lambda shape: Cell(genotype, shape, options, drop_path),
        )
        self.genotype = genotype

    def forward(self, images: Tensor) -> Tensor:
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.head(last)


def _reductions(given: Sequence[int] | None, layers: int) -> list[int]:
    if given is None:
        return sorted({layers // 3, 2 * layers // 3})
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UserError(f"model.reductions={given!r} is not allowed; it must be a list of cells, [1] say, or null")
    for place, layer in enumerate(given):
        check_whole(f"model.reductions[{place}]", layer, 0, layers - 1)
    if len(set(given)) < len(given):
        raise UserError(f"model.reductions={list(given)} is not allowed; it has a cell twice")
    return sorted(given)
