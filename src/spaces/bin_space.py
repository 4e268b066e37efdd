"""The channel widths of any CNN that can be traced, in bins: the search space of CafeNet (arXiv 2102.05258)."""

from collections.abc import Mapping
from operator import sub
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError, check_flag, check_range, check_whole, did_you_mean
from src.evolution.grid import Band as Costs
from src.evolution.grid import BinGrid
from src.evolution.repair import repaired
from src.graph.squeeze import squeezed_groups
from src.spaces.bins import BinRule, sensitivities
from src.spaces.space import Band, admissible_band
from src.spaces.widths import TracedWidths

_BARREN_ROUNDS = 8  # without a hit, until a band of MACs is given up as too narrow
_FIRST_ROUND, _LARGEST_ROUND = 64, 1024  # draws at once


class BinSpace(TracedWidths):
    """A number of bins for each free group of the channel graph, from one bin to the full width of the base.

    A genotype is {group: width in channels}, and its widths lie on the borders of bins; a row (G,) holds the numbers
    of bins, in the order of `names`. Two kinds of groups have one bin, which stays: those whose channels cost no MACs
    and, unless they are asked for, the squeezed channels of squeeze-and-excitation.

    `sample` draws each number of bins uniformly, independent of the others: what the super-net is trained on. For a
    band of MACs the draws are repaired (`src.evolution.repair`): all in the band can be drawn, not all as likely.

    Args:
        base: model config; its widths are the full ones. Of a resized model the one inside is searched.
        input_shape: (C, H, W) of the images.
        bin_rule: "pow2": sizes are powers of two by the cost of a channel; "share": each bin costs about the same share
            of all MACs; "uniform": as many equal bins in every group.
        min_bin, max_bin: channels in the smallest bin of "pow2" and "share", and in the largest of "pow2"; a group
            whose width must be a multiple of more than that has bins of that multiple.
        short_last_bin: of "pow2": whether the last bin may be smaller. False: bins that do not divide the width are
            made larger by 9/8 or 5/4 (as the code does that the rule comes from), and where that does not help is an
            error.
        share: of "share": what a bin costs, of all MACs. None: 1/400, or what `total_bins` asks for.
        bins_per_group: of "uniform".
        total_bins: bins of all groups together, as near as the rule "share" or "uniform" can come to it.
        min_bins_per_group: no group has fewer, unless it has too few channels.
        min_width: no width is smaller; groups that are narrower already stay.
        min_share: no width is smaller than this share of the full one. A super-net that is trained down to a channel a
            layer has little left for the widths that are worth finding, and may diverge.
        search_squeeze: whether squeezed channels are searched too.

    Raises:
        UserError: the model has no width that may change or does not follow changed widths, or an argument is wrong.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        bin_rule: str = "pow2",
        min_bin: int = 1,
        max_bin: int = 32,
        short_last_bin: bool = True,
        share: float | None = None,
        bins_per_group: int = 20,
        total_bins: int | None = None,
        min_bins_per_group: int = 2,
        min_width: int = 1,
        min_share: float = 0.0,
        search_squeeze: bool = False,
    ) -> None:
        rule = BinRule(
            bin_rule, min_bin, max_bin, short_last_bin, share, bins_per_group, total_bins, min_bins_per_group
        )
        check_whole("method.min_width", min_width, 1)
        check_range("method.min_share", min_share, 0, 1)
        check_flag("method.search_squeeze", search_squeeze)
        network = self._trace(base, input_shape)
        self.names = self.costs.names
        self.multiples = {group.name: group.multiple for group in self.graph.free}
        self.full_macs = int(self.costs.macs(self.start))
        full, multiples = (self.costs.vector(values)[0].to(torch.int64) for values in (self.start, self.multiples))
        self.sensitivities = sensitivities(self.costs, full, multiples)  # (G,) MACs of a group's last unit
        fixed = set() if search_squeeze else squeezed_groups(self.graph, network)
        searched = self.sensitivities > 0
        searched &= torch.tensor([name not in fixed for name in self.names])
        if not searched.any():
            raise UserError("this model has no width to search: no channel that may go costs MACs")
        names = [name for name, may in zip(self.names, searched.tolist(), strict=True) if may]
        groups = [values[searched] for values in (self.sensitivities, full // multiples, multiples)]
        cut = dict(zip(names, rule.edges(names, *groups, self.full_macs), strict=True))
        self.edges = {name: cut.get(name, (self.start[name] // self.multiples[name],)) for name in self.names}
        self._borders = {name: [unit * self.multiples[name] for unit in self.edges[name]] for name in self.names}
        # widths by number of bins; the first column is none, so that the MACs of bins can be told by taking all away
        most = max(map(len, self._borders.values()))
        padded = [[0, *borders, *[torch.nan] * (most - len(borders))] for borders in self._borders.values()]
        self._widths = torch.tensor(padded, dtype=torch.float64)
        self.high = torch.tensor([len(borders) for borders in self._borders.values()])
        least = {name: max(min_width, min_share * borders[-1]) for name, borders in self._borders.items()}
        self.low = torch.tensor(
            [1 + sum(width < least[name] for width in borders[:-1]) for name, borders in self._borders.items()]
        )
        self.grid = BinGrid(self.low, self.high, self.macs_of)

    # rows of bins

    def widths_of(self, rows: Tensor) -> Tensor:
        """Channels of each group: numbers of bins (N, G) int64 -> (N, G) float64. No bin is no channel."""
        return self._widths[torch.arange(len(self.names)), rows]

    def macs_of(self, rows: Tensor) -> Tensor:
        """MACs of each row of bins: (N, G) -> (N,) int64."""
        return self.costs.macs(self.widths_of(rows))

    def bin_sizes(self) -> dict[str, int]:
        """Channels in the largest bin of each group that may change; the others of it are as large, or smaller."""
        sizes = {name: max(map(sub, borders, [0, *borders])) for name, borders in self._borders.items()}
        return {name: size for name, size in sizes.items() if len(self.edges[name]) > 1}

    def bin_shares(self) -> dict[str, float]:
        """What share of all MACs a bin of that size costs at full width."""
        units = {name: size // self.multiples[name] for name, size in self.bin_sizes().items()}
        costs = dict(zip(self.names, self.sensitivities.tolist(), strict=True))
        return {name: costs[name] * size / self.full_macs for name, size in units.items()}

    def genotype(self, row: Tensor) -> dict[str, int]:
        """The widths of one row of bins (G,)."""
        return {name: self._borders[name][bins - 1] for name, bins in zip(self.names, row.tolist(), strict=True)}

    def row(self, genotype: Mapping[str, int]) -> Tensor:
        """The numbers of bins (G,) of a genotype; `UserError` where a group is missing or a width lies in a bin."""
        for name in genotype:
            if name not in self._borders:
                raise UserError(f"there is no width group {name!r} to set; {did_you_mean(name, self.names)}")
        row = []
        for name, low in zip(self.names, self.low.tolist(), strict=True):
            borders = self._borders[name][low - 1 :]
            if name not in genotype:
                raise UserError(f"the width group {name!r} is missing; all {len(self.names)} groups need a width")
            if genotype[name] not in borders:
                near = min(borders, key=lambda width: abs(width - genotype[name]))
                raise UserError(
                    f"width {genotype[name]!r} of {name!r} is not on the border of a bin; the nearest that is: {near}"
                )
            row.append(low + borders.index(genotype[name]))
        return torch.tensor(row)

    # the promises of a search space

    def reachable(self) -> tuple[int, int]:
        least, most = self.macs_of(torch.stack([self.low, self.high])).tolist()
        return least, most

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[dict[str, int]]:
        """`count` independent draws within `macs`; raises `UserError` where there is none, or none could be found."""
        if macs == (None, None):
            return [self.genotype(row) for row in self.grid.uniform(count, generator)]
        band = Costs(*admissible_band(self, macs))
        found, barren, size = [], 0, min(max(_FIRST_ROUND, count), _LARGEST_ROUND)
        while sum(map(len, found)) < count:
            rows, inside = repaired(self.grid.uniform(size, generator), self.grid, band, generator)
            found.append(rows[inside])
            barren = 0 if inside.any() else barren + 1
            if barren == _BARREN_ROUNDS:
                raise UserError(self._nothing_within(band, rows))
        return [self.genotype(row) for row in torch.cat(found)[:count]]

    def _nothing_within(self, band: Costs, rows: Tensor) -> str:
        """What to say of a band that `rows` (N, G) have come near to from below."""
        larger = torch.minimum(rows[:, None] + torch.eye(len(self.names), dtype=torch.int64), self.high).flatten(0, 1)
        costs = torch.cat([self.macs_of(rows), self.macs_of(larger)])
        near = [costs[costs < band.least].max(), costs[costs > band.most].min()]
        low, high = self.reachable()
        return (
            f"no widths were found with {band.least:,} to {band.most:,} MACs, between the MACs of neighbouring widths; "
            f"the nearest that were seen have {int(near[0]):,} and {int(near[1]):,} MACs, and the space reaches "
            f"from {low:,} to {high:,} MACs"
        )
