"""Several super-nets that are trained by turns, as one network."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from src.errors import UserError


class SeveralSupernets(nn.Module):
    """K super-nets: (B, in_channels, H, W) -> (B, num_classes), by a sub-net of one of them.

    Args:
        supernets: K of them, `ElasticSupernet`s of the same classes.
    """

    def __init__(self, supernets: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(supernets) < 2:
            raise UserError("method.supernets needs two super-nets at least; method=nat is for one")
        self.supernets = nn.ModuleList(supernets)

    def forward(self, images: Tensor, genotype: Mapping[str, Any] | None = None, number: int = 0) -> Tensor:
        """The scores by the sub-net `genotype` of super-net `number`; None: its largest."""
        return self.supernets[number](images, genotype)
