"""What every search space promises, so that one method can search any of them, and the budget of MACs of a search."""

from typing import Any, Protocol

import torch

from src.errors import UserError, check_range

Genotype = dict[str, Any]  # what makes one architecture: plain JSON-able values, for candidates.csv and checkpoints
_SHARES_BELOW = 10  # no network costs fewer than ten MACs
Band = tuple[float | None, float | None]  # least and most MACs that are asked for, both allowed; None: no bound


class SearchSpace(Protocol):
    """A set of architectures. A space is made of a model config and an image shape: `space(base, input_shape)`.

    `start` is the genotype of the model that it was made of.
    """

    start: Genotype

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[Genotype]:
        """`count` random architectures, each admissible and within `macs`, drawn from `generator` alone.

        The draws are independent: one architecture may come twice. A space says in its own docstring how they are
        distributed. Raises `UserError` that names the reachable range where nothing lies within `macs`.
        """
        ...

    def config(self, genotype: Genotype) -> dict[str, Any]:
        """Its model config: what `network_from` builds and `architecture.yaml` holds."""
        ...

    def macs(self, genotype: Genotype) -> int:
        """MACs of convolution and linear layers for one image."""
        ...

    def params(self, genotype: Genotype) -> int:
        """The number of its parameters."""
        ...

    def reachable(self) -> tuple[int, int]:
        """The least and the most MACs of an architecture of this space."""
        ...


def macs_of_bound(name: str, bound: float, base: int) -> float:
    """A bound of MACs: `bound` itself or, below 10, that share of `base`; `UserError` where it is neither."""
    if isinstance(bound, str):
        raise UserError(f"{name}={bound!r} is not allowed; it must be a number of MACs, below 10 a share, or null")
    check_range(name, bound, 0, 1e18)
    return bound * base if bound < _SHARES_BELOW else bound


def admissible_band(space: SearchSpace, macs: Band) -> tuple[int, int]:
    """The part of the band `macs` that `space` can reach, as whole MACs; `UserError` that names its range if none."""
    low, high = macs
    least, most = space.reachable()
    low = least if low is None else max(least, -int(-low // 1))
    high = most if high is None else min(most, int(high // 1))
    if low > high:
        raise UserError(
            f"no architecture of this search space has {_told(macs)} MACs; those that it has reach from {least:,} to "
            f"{most:,} MACs"
        )
    return low, high


def _told(macs: Band) -> str:
    low, high = (None if bound is None else f"{bound:,.0f}" for bound in macs)
    if low is None or high is None:
        return f"at most {high}" if low is None else f"at least {low}"
    return f"from {low} to {high}"
