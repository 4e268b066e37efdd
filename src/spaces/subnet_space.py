"""The sub-nets of an elastic mobile super-net as a search space (NAT, ENCAS-joint and random search)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from src.errors import UserError
from src.networks.elastic_mobile.macro import largest, smallest
from src.networks.elastic_mobile.supernet import ElasticSupernet
from src.runtime.build import network_from
from src.spaces.space import Band, admissible_band
from src.spaces.subnet_costs import SubnetCosts
from src.spaces.subnet_rows import SubnetRows
from src.spaces.subnet_sampling import within

_SUPERNET = f"{ElasticSupernet.__module__}.{ElasticSupernet.__qualname__}"


class SubnetSpace:
    """All sub-nets of a super-net. A genotype is as `src.networks.elastic_mobile.macro` has it; `start` the largest.

    A row holds the genes of a sub-net, int64 (d,), gene j from 0 to alphabet[j] - 1 (`SubnetRows` says which); `genes`
    are their names. Genes of a row may be without effect: `canonical` rows are those in which they are 0.

    `sample` and `uniform` draw every choice uniformly and independently: the resolution, the multiplier and all widths,
    of each stage the depth, then the kernel and the expansion of each block that it has (or the one of all its blocks).
    Within a band of MACs such draws are kept where they lie in it (`src.spaces.subnet_sampling` says what is done where
    hardly any does).

    Args:
        base: model config of an `ElasticSupernet`.
        input_shape: (C, H, W) of the images. H and W do not count: sub-nets resize them.

    Raises:
        UserError: the base is no such super-net, or takes images of other channels.
    """

    def __init__(self, base: dict[str, Any], input_shape: tuple[int, int, int]) -> None:
        with torch.device("meta"):
            supernet = network_from(base)
        if not isinstance(supernet, ElasticSupernet):
            raise UserError(
                f"subnets are searched in a {_SUPERNET} only, such as model=elastic_tiny, elastic_small or "
                f"ofa_mobilenet_v3; {base.get('_target_')} gives a {type(supernet).__name__}"
            )
        self.input_shape = tuple(int(size) for size in input_shape)
        channels = self.input_shape[0]
        if supernet.in_channels != channels:
            raise UserError(f"model.in_channels={supernet.in_channels}: the images have {channels} channels")
        self.macro, self.num_classes = supernet.macro, supernet.num_classes
        self._supernet = supernet
        self.start = largest(self.macro)
        self._rows = SubnetRows(self.macro)
        self._costs = SubnetCosts(self.macro, supernet.in_channels, supernet.num_classes)
        self.genes, self.alphabet = self._rows.names, self._rows.alphabet
        self.largest, self.smallest = self.row(self.start), self.row(smallest(self.macro))

    # genotypes and rows

    def genotype(self, row: np.ndarray) -> dict[str, Any]:
        """The genotype of a row (d,), canonical or not."""
        return self._rows.genotype(row)

    def row(self, genotype: Mapping[str, Any]) -> np.ndarray:
        """The canonical row (d,) of a genotype; `UserError` where it is not of this space."""
        return self._rows.row(genotype)

    def canonical(self, rows: np.ndarray) -> np.ndarray:
        """The canonical rows of `rows`, both (N, d): equal where the sub-nets are. Idempotent."""
        return self._rows.canonical(rows)

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Canonical rows (count, d) of independent uniform draws."""
        return self._rows.uniform(count, generator)

    def macs_of(self, rows: np.ndarray) -> np.ndarray:
        """MACs (N,) int64 of rows (N, d), exact."""
        return self._of(rows)[:, 0]

    def params_of(self, rows: np.ndarray) -> np.ndarray:
        """Parameters (N,) int64 of rows (N, d), exact."""
        return self._of(rows)[:, 1]

    def _of(self, rows: np.ndarray) -> np.ndarray:
        return self._costs.of(self._rows.choices(rows))

    # the promises of a search space

    def config(self, genotype: Mapping[str, Any]) -> dict[str, Any]:
        return self._supernet.subnet_config(genotype)

    def macs(self, genotype: Mapping[str, Any]) -> int:
        return int(self.macs_of(self.row(genotype)[None])[0])

    def params(self, genotype: Mapping[str, Any]) -> int:
        return int(self.params_of(self.row(genotype)[None])[0])

    def reachable(self) -> tuple[int, int]:
        return self._costs.reachable()

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[dict[str, Any]]:
        """`count` independent draws within `macs`; raises `UserError` where there is none, or none could be found."""
        seed = int(torch.randint(2**62, (1,), generator=generator))
        rows = self.within(count, np.random.default_rng(seed), macs)
        return [self.genotype(row) for row in rows]

    def within(self, count: int, generator: np.random.Generator, macs: Band = (None, None)) -> np.ndarray:
        """As `sample`, canonical rows (count, d)."""
        if macs == (None, None):
            return self.uniform(count, generator)
        low, high = admissible_band(self, macs)
        return within(self, low, high, count, generator)
