"""Random matrices whose low-rank structure is known, for the tests of this folder."""

import math

import torch
from torch import Tensor

from src.lowrank.evbmf import Factorisation, factorise
from src.lowrank.unfolding import spectra


def gaussian(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(rows: int, columns: int, rank: int, seed: int, edges: float = 1.2, noise: float = 1.0) -> Tensor:
    """Unit noise (times `noise`) plus `rank` directions, the weakest at `edges` times the edge of the noise."""
    left = torch.linalg.qr(gaussian(rows, rank, seed + 1000)).Q
    right = torch.linalg.qr(gaussian(columns, rank, seed + 2000)).Q
    strength = torch.linspace(3 * edges, edges, rank, dtype=torch.float64) * (math.sqrt(rows) + math.sqrt(columns))
    return (left * strength) @ right.T + noise * gaussian(rows, columns, seed)


def solve(*matrices: Tensor, solver: str = "exact") -> Factorisation:
    """EVBMF of plain matrices: a linear weight seen from its output side is the matrix itself."""
    found = spectra({str(index): matrix for index, matrix in enumerate(matrices)}, sides=("out",))
    return factorise(found.values, found.rows, found.columns, solver)
