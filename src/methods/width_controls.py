"""What a width search has to beat at its own budget: uniform scaling, and random widths."""

import torch

from src.errors import UserError
from src.spaces.bin_space import BinSpace
from src.spaces.width_sampling import Grid, scaled_to

CONTROLS = ("uniform", "random")
_CLOSE = 0.97


def uniform_widths(space: BinSpace, macs: int) -> dict[str, int]:
    """All widths of the base times the one factor with which they come nearest to `macs` from below.

    Widths are rounded to what the network demands, not to bins: it is the baseline that one would set by hand.
    """
    order = space.costs.names
    full, multiples = (space.costs.vector(values)[0] for values in (space.start, space.multiples))
    grid = Grid(multiples, full, multiples, full, space.costs.macs)
    below, _ = scaled_to(grid, full[None], torch.tensor([macs]))
    return dict(zip(order, below[0].to(torch.int64).tolist(), strict=True))


def multiplied(space: BinSpace, factor: float) -> dict[str, int]:
    """All widths of the base times `factor`, rounded to what the network demands."""
    return {
        name: max(1, round(factor * width / space.multiples[name])) * space.multiples[name]
        for name, width in space.start.items()
    }


def random_widths(space: BinSpace, least: int, most: int, generator: torch.Generator) -> dict[str, int]:
    """Random bins with MACs close under `most`, or else with `least` to `most`."""
    close = max(least, round(_CLOSE * most))
    try:
        return space.sample(1, generator, (close, most))[0]
    except UserError:  # wide bins have gaps
        return space.sample(1, generator, (least, most))[0]
