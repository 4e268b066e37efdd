"""How the channels of each width group are cut into bins, by what they cost (CafeNet, arXiv 2102.05258).

The paper's formula is not known to us. `pow2_bins` is the rule that its authors left behind in the code of a later work
(BCNet), `share_bins` a plainer one of the same intent: both are reconstructions. `uniform_edges` is what others use.

Counted are units: of a group whose width must be a multiple m of channels, a unit is m channels, else one. Edges are
the cumulative sizes (b1, b1 + b2, ..., n) of the bins of a group of n units, so that k leading bins are edges[k - 1]
units wide. Widths follow from edges by look-up alone: no width is ever computed from a ratio and rounded again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.graph.cost import CostPolynomial

Edges = tuple[int, ...]
BIN_RULES = ("pow2", "share", "uniform")
DEFAULT_SHARE = 1 / 400  # of all MACs, for one bin


def sensitivities(costs: CostPolynomial, full: Tensor, multiples: Tensor) -> Tensor:
    """MACs that each group saves if it alone gives up its last unit: `full`, `multiples` (G,) -> (G,) int64, exact."""
    full, multiples = full.to(torch.float64), multiples.to(torch.float64)
    return costs.macs(full) - costs.macs(full - torch.diag(multiples))


def pow2_bins(sensitivity: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Units in a bin of each group: the least power of two at which a bin costs as much as the dearest unit, clipped.

    b = clip(2^ceil(log2(M / s)), low, high) with M the largest sensitivity, in whole numbers (G,) throughout. Where it
    is not clipped, M <= b s < 2 M.
    """
    ratio = -(-sensitivity.max() // sensitivity)  # the power of two at or above M / s is that at or above its ceiling
    _, exponent = torch.frexp((ratio - 1).to(torch.float64))  # the number of binary digits
    return torch.minimum(torch.maximum(2 ** exponent.to(torch.int64), low), high)


def dividing_bin(size: int, bin_size: int) -> int | None:
    """`bin_size`, or what the leftover code makes of it so that it divides `size`: 9/8 or 5/4 of it. None: neither."""
    for numerator, denominator in ((1, 1), (9, 8), (5, 4)):
        larger, rest = divmod(bin_size * numerator, denominator)
        if rest == 0 and size % larger == 0:
            return larger
    return None


def share_bins(
    sensitivity: Sequence[int], sizes: Sequence[int], macs: int, share: float, low: Sequence[int], high: Sequence[int]
) -> list[int]:
    """Units in a bin of each group such that a bin costs about the same `share` of all `macs` in every group.

    b = clip(round_to_divisor(share F / s), low, high): the divisor of the group's size nearest in ratio, of two equally
    near ones the smaller. Where no divisor lies within [low, high], the largest of those up to high.
    """
    wanted = [share * macs / s for s in sensitivity]
    return [_nearest_divisor(*group) for group in zip(sizes, wanted, low, high, strict=True)]


def share_for_total(
    sensitivity: Sequence[int], sizes: Sequence[int], macs: int, total: int, low: Sequence[int], high: Sequence[int]
) -> float:
    """The share with which `share_bins` comes nearest to `total` bins in all; of two equally near ones the smaller.

    Raises:
        UserError: no share gives so few or so many bins.
    """

    def count(share: float) -> int:
        bins = share_bins(sensitivity, sizes, macs, share, low, high)
        return sum(size // b for size, b in zip(sizes, bins, strict=True))

    small = min(s / macs for s in sensitivity) / 2  # under one unit in every group
    large = 2 * max(s * n / macs for s, n in zip(sensitivity, sizes, strict=True))  # above all of each group
    most, least = count(small), count(large)
    if not least <= total <= most:
        raise UserError(
            f"method.total_bins={total} is not allowed; the {len(sizes)} width groups of this model can have from "
            f"{least} to {most} bins in all"
        )
    for _ in range(100):  # the count falls with the share: halve the ratio down to the precision of float64
        middle = math.sqrt(small * large)
        small, large = (middle, large) if count(middle) >= total else (small, middle)
    return min((small, large), key=lambda share: abs(count(share) - total))


def _nearest_divisor(size: int, wanted: float, low: int, high: int) -> int:
    divisors = [d for d in range(1, min(size, high) + 1) if size % d == 0]
    allowed = [d for d in divisors if d >= low] or divisors[-1:]
    return min(allowed, key=lambda d: abs(math.log(d / wanted)))


def edges(size: int, bin_size: int) -> Edges:
    """Edges of `size` units in bins of `bin_size`; the last bin is short where that does not divide it."""
    return (*range(bin_size, size, bin_size), size)


def uniform_edges(size: int, count: int) -> Edges:
    """Edges of `count` bins as equal as can be: their sizes differ by one unit at most, and none is empty.

    A group of fewer units than `count` has a bin for each unit.
    """
    count = min(count, size)
    return tuple(_rounded(i * size, count) for i in range(1, count + 1))


def _rounded(numerator: int, denominator: int) -> int:
    """Their quotient as a whole number, halves upwards: the one place where a width is rounded."""
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True)
class BinRule:
    """How groups are cut into bins, with the arguments of `BinSpace`; `UserError` where one is not allowed."""

    bin_rule: str = "pow2"
    min_bin: int = 1
    max_bin: int = 32
    short_last_bin: bool = True
    share: float | None = None
    bins_per_group: int = 20
    total_bins: int | None = None
    min_bins_per_group: int = 2

    def __post_init__(self) -> None:
        check_choice("method.bin_rule", self.bin_rule, BIN_RULES)
        check_whole("method.min_bin", self.min_bin, 1)
        check_whole("method.max_bin", self.max_bin, self.min_bin)
        check_flag("method.short_last_bin", self.short_last_bin)
        check_whole("method.min_bins_per_group", self.min_bins_per_group, 1)
        check_whole("method.bins_per_group", self.bins_per_group, self.min_bins_per_group)
        if self.share is not None:
            check_range("method.share", self.share, 1e-9, 1)
        if self.total_bins is not None:
            check_whole("method.total_bins", self.total_bins, 1)
            if self.bin_rule == "pow2":
                raise UserError(
                    f"method.total_bins={self.total_bins} is not allowed with method.bin_rule=pow2, whose bins follow "
                    "from min_bin and max_bin; it needs method.bin_rule=share or uniform"
                )
            if self.bin_rule == "share" and self.share is not None:
                raise UserError(
                    f"method.share={self.share} and method.total_bins={self.total_bins} both give the bins; "
                    "set one of them to null"
                )

    def edges(
        self, names: Sequence[str], sensitivity: Tensor, sizes: Tensor, multiples: Tensor, macs: int
    ) -> list[Edges]:
        """Edges of each of the groups `names`, whose `sensitivity`, `sizes` in units and `multiples` are (G,) int64.

        Args:
            macs: of the whole network at full width.
        """
        if self.bin_rule == "uniform":
            count = self.bins_per_group if self.total_bins is None else self._even_count(sizes)
            return [uniform_edges(size, count) for size in sizes.tolist()]
        # bounds are given in channels; at least one unit, and no more than leaves enough bins
        most = (sizes // self.min_bins_per_group).clamp(min=1)
        low = -(-self.min_bin // multiples)
        high = torch.minimum(torch.maximum(self.max_bin // multiples, low), most)
        if self.bin_rule == "pow2":
            sizes_of_bins = pow2_bins(sensitivity, torch.minimum(low, most), high).tolist()
            if not self.short_last_bin:
                sizes_of_bins = [_exact(*group) for group in zip(names, sizes.tolist(), sizes_of_bins, strict=True)]
        else:
            bounds = (sensitivity.tolist(), sizes.tolist(), macs), (low.tolist(), most.tolist())
            share = self.share or DEFAULT_SHARE
            if self.total_bins is not None:
                share = share_for_total(*bounds[0], self.total_bins, *bounds[1])
            sizes_of_bins = share_bins(*bounds[0], share, *bounds[1])
        return [edges(size, b) for size, b in zip(sizes.tolist(), sizes_of_bins, strict=True)]

    def _even_count(self, sizes: Tensor) -> int:
        """The number of bins a group whose total is nearest to `total_bins`, the smaller of two equally near ones."""
        counts = torch.arange(self.min_bins_per_group, max(int(sizes.max()), self.min_bins_per_group) + 1)
        totals = torch.minimum(sizes, counts[:, None]).sum(1)
        return int(counts[(totals - self.total_bins).abs().argmin()])


def _exact(name: str, size: int, bin_size: int) -> int:
    exact = dividing_bin(size, bin_size)
    if exact is None:
        raise UserError(
            f"method.short_last_bin=false: bins of {bin_size} do not divide the {size} units of width group {name!r}, "
            "nor do 9/8 or 5/4 of them; allow a short last bin or give another method.max_bin"
        )
    return exact
