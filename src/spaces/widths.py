"""The channel widths of any CNN that can be traced, as a search space."""

from collections.abc import Mapping
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice, check_whole
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import check_resizable, resized
from src.multiples import admissible_bounds
from src.runtime.build import network_from
from src.runtime.seeds import seeded
from src.spaces.space import Band, admissible_band
from src.spaces.width_sampling import Grid, log_uniform_targets, one_step_within, random_profiles, scaled_to

_RESIZED = f"{resized.__module__}.{resized.__name__}"
_BARREN_ROUNDS = 8  # without a hit, until a band of MACs is given up as too narrow
_LARGEST_ROUND = 4096  # draws at once
_REPAIRED_TOGETHER = 256  # rows, each with twice as many neighbours as it has widths: this bounds the memory


class TracedWidths:
    """What spaces of widths have in common: a model whose groups were found, and what its genotypes are and cost.

    Widths are those of the model inside, also where the base is a resized one: only there do a grouped convolution and
    a group norm tell how many groups they have.
    """

    def _trace(self, base: dict[str, Any], input_shape: tuple[int, int, int]) -> nn.Module:
        """Finds the groups; returns the network, or raises `UserError` where it has no width to search."""
        self.input_shape = tuple(input_shape)
        self.inner, start = unwrapped(base, self.input_shape)
        with seeded(0, "space"):  # of the network only the shapes matter; what it draws must not move other draws
            network = network_from(self.inner)
            self.graph = channel_graph(network, self.input_shape)
            if not self.graph.free:
                raise UserError("this model has no width to search: every channel group is frozen")
            check_resizable(network, self.graph)
        self.start = self.graph.checked(start)
        self.costs = cost_polynomial(self.graph)
        return network

    def config(self, genotype: Mapping[str, int]) -> dict[str, Any]:
        return resized_config(self.inner, self.input_shape, genotype)

    def macs(self, genotype: Mapping[str, int]) -> int:
        return int(self.costs.macs(genotype))

    def params(self, genotype: Mapping[str, int]) -> int:
        return int(self.costs.params(genotype))


class WidthSpace(TracedWidths):
    """One width for each free group of the channel graph. A genotype is {group: width}.

    `sample` draws a shape and a size. The shape: each width log-uniform about that of the base (or about even ones),
    independent of the others, over a part of the range of its bounds; the part is the same for all, uniform from none
    to the whole. The size: a target for the MACs, log-uniform in the band. All widths are then multiplied by the one
    factor that meets the target, clipped at their bounds and rounded to their multiples. So the MACs are about
    log-uniform over the band however wide it is, where widths drawn one by one would nearly all have much the same
    MACs. But the draw is not uniform among the admissible vectors: those in proportion to the base (or even) are
    likelier, and towards the ends of the reachable range more and more widths stand at their bounds. About even widths
    every vector in the band can be drawn; about the base those that keep its proportions to within the ratio of the
    bounds, and of the others ones that stand at a bound.

    Args:
        base: model config; of a resized model the one inside is searched, so that searches do not nest.
        input_shape: (C, H, W) of the images.
        min_width, max_width: bounds of every width. max_width None: 256, or the widest of the model where that is more.
        multiple: of which every width is a multiple, beside what the network demands.
        shape: what drawn widths vary about: "base", the widths of the model, or "even", all alike.

    Raises:
        UserError: the model has no width that may change or does not follow changed widths, or no width is admissible.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        min_width: int = 8,
        max_width: int | None = None,
        multiple: int = 2,
        shape: str = "base",
    ) -> None:
        check_whole("method.width_multiple", multiple, 1)
        check_whole("method.min_width", min_width, 1)
        check_choice("method.shape", shape, ("base", "even"))
        if max_width is not None:
            check_whole("method.max_width", max_width, 1)
        self._trace(base, input_shape)
        if max_width is None:
            max_width = max(256, *(group.width for group in self.graph.free))
        self.multiples = {group.name: lcm(group.multiple, multiple) for group in self.graph.free}
        self.bounds = {name: self._bounds(name, min_width, max_width) for name in self.multiples}
        order = self.costs.names
        low, high = self.costs.vector([{name: self.bounds[name][side] for name in order} for side in (0, 1)])
        centre = self.costs.vector(self.start)[0] if shape == "base" else (low * high).sqrt()
        self._grid = Grid(low, high, self.costs.vector(self.multiples)[0], centre, self.costs.macs)

    def _bounds(self, name: str, min_width: int, max_width: int) -> tuple[int, int]:
        try:
            return admissible_bounds(min_width, max_width, self.multiples[name])
        except UserError as error:
            raise UserError(f"method: width group {name!r}: {error}") from error

    def reachable(self) -> tuple[int, int]:
        least, most = self.costs.macs(torch.stack([self._grid.low, self._grid.high])).tolist()
        return least, most

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[dict[str, int]]:
        """`count` independent draws within `macs`; raises `UserError` where there is none, or none could be found."""
        least, most = admissible_band(self, macs)
        found, missed, barren, size = [], [], 0, max(64, count)
        while sum(map(len, found)) < count and barren < _BARREN_ROUNDS:
            hits, misses = self._draw(size, least, most, generator)
            found.append(hits)
            missed.append(self.costs.macs(misses))
            barren = 0 if len(hits) else barren + 1
            size = min(2 * size, _LARGEST_ROUND)
        if barren == _BARREN_ROUNDS:
            raise UserError(
                f"no widths were found with {least:,} to {most:,} MACs, between the MACs of neighbouring widths; the "
                f"nearest that were seen have {_nearest(torch.cat(missed), least, most)} MACs"
            )
        rows = torch.cat(found)[:count].to(torch.int64).tolist()
        return [dict(zip(self.costs.names, row, strict=True)) for row in rows]

    def _draw(self, size: int, least: int, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`size` draws: the width vectors (n, G) that lie in the band, in their order, and ones that miss it."""
        profiles = random_profiles(self._grid, size, generator)
        targets = log_uniform_targets(least, most, size, generator)
        below, above = scaled_to(self._grid, profiles, targets)
        less, more = self.costs.macs(below), self.costs.macs(above)
        reaches, stays = less >= least, more <= most
        nearer = stays & (~reaches | (more - targets < targets - less))
        rows, inside = torch.where(nearer[:, None], above, below), reaches | stays
        for part in (~inside).nonzero()[:, 0].split(_REPAIRED_TOGETHER):
            rows[part], inside[part] = one_step_within(self._grid, below[part], above[part], least, most, generator)
        return rows[inside], torch.cat([below[~inside], above[~inside]])


def _nearest(costs: Tensor, least: int, most: int) -> str:
    """Of `costs` that miss a band the nearest on either side."""
    near = [*costs[costs < least].sort().values[-1:].tolist(), *costs[costs > most].sort().values[:1].tolist()]
    return " and ".join(f"{cost:,}" for cost in near)


def resized_config(model: dict[str, Any], input_shape: tuple[int, ...], widths: Mapping[str, int]) -> dict[str, Any]:
    """The model config of `model` at `widths`."""
    return {"_target_": _RESIZED, "model": model, "input_shape": list(input_shape), "widths": dict(widths)}


def unwrapped(base: dict[str, Any], input_shape: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, int]]:
    """The model inside a resized one and its widths, so that searches do not nest; any other model and no widths."""
    if base.get("_target_") == _RESIZED and tuple(base["input_shape"]) == tuple(input_shape):
        return base["model"], dict(base["widths"])
    return base, {}
