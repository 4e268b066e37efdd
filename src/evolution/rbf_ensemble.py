"""The surrogate of NAT and ENCAS: many RBF interpolants, each on a random subset of the genes, and their median.

A member is the cubic radial basis function with a linear tail (pySOT, BSD-3, is what the original uses),

    s(x) = sum_j c_j |x - x_j|^3 + l_0 + l . x,     [ 0  P^T         ] [l]   [0]
                                                    [ P  Phi + eta I ] [c] = [f],     P = [1, x],

on the distinct rows of its genes. Here all members are stacked linear systems and batched matrix products. Members of
about the same size are padded to one size: places that a member does not use are rows of the identity. All numbers are
float64: the coefficients nearly cancel each other, and float32 was off by a thousandth of the range of the predictions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import check_whole
from src.evolution.coarse_threads import spread
from src.evolution.rbf_members import draw_members

_SOLVED = 2**22  # numbers in the systems that are solved at once, 32 MB
_PREDICTED = 2**18  # distances that are held at once, 2 MB: what stays in a cache


class _Members(NamedTuple):
    """G members of about the same size, U rows and K genes at most.

    genes: int64 (G, K). used: (G, K) 1 where the gene is one of the member's, else 0. centres: (G, U, K + 2), such that
    their product with [x, |x|^2, 1] is a squared distance. cubic: (G, U, 1), linear: (G, K, 1), constant: (G, 1).
    """

    genes: Tensor
    used: Tensor
    centres: Tensor
    cubic: Tensor
    linear: Tensor
    constant: Tensor


class RBFEnsemble:
    """Predicts a number of a row from rows whose number is known; nothing but rows, values and seed decides.

    Args:
        alphabet: (d,) how many values each gene has. Rows are divided by it (the original's bounds of the unit box);
            numbers that are no genes may be given too, scaled to 0..1, with 1 for each in the alphabet.
        members: interpolants in the ensemble.
        eta: added to the diagonal, as in the original: the interpolant all but passes through the values.
        seed: of the genes of the members; keyed by the caller.
        smallest: genes of a member at least, as far as the rows allow; 1 in the original.
    """

    def __init__(
        self,
        alphabet: Sequence[int],
        members: int = 500,
        eta: float = 1e-6,
        seed: int = 0,
        smallest: int = 1,
    ) -> None:
        self.alphabet = np.asarray(alphabet, dtype=np.float64)
        self.members, self.eta, self.seed, self.smallest = check_whole("members", members, 1), eta, seed, smallest
        self._groups: list[_Members] = []
        self._places = np.empty(0, dtype=np.int64)  # of each member among those fitted, group after group
        self._constant = np.nan

    def fit(self, rows: NDArray, values: NDArray) -> "RBFEnsemble":
        """Fits all members to rows (n, d) with values (n,), and returns itself.

        Of rows that are equal in a member's genes it knows the first. Fewer rows than genes are enough: members then
        have fewer genes. If all rows are equal, the prediction is the median of the values.

        Raises:
            ValueError: there is no row, or a value is not finite.
        """
        points, values = self._scaled(rows), np.asarray(values, dtype=np.float64)
        if not len(values) or len(points) != len(values) or not np.isfinite(values).all():
            raise ValueError(f"{len(points)} rows need as many finite values, at least one; got {values}")
        genes, first = draw_members(points, self.members, np.random.default_rng(self.seed), self.smallest)
        self._constant = float(np.median(values))
        # with few genes members are often the same
        genes, places, same = np.unique(genes, axis=0, return_index=True, return_inverse=True)
        first, groups = first[places], _alike(first[places].sum(1), genes.sum(1))
        points, values = torch.from_numpy(points), torch.from_numpy(values)
        self._groups = spread(lambda some: _fitted(points, values, genes[some], first[some], self.eta), groups)
        self._places = np.argsort(np.concatenate([np.empty(0, dtype=np.int64), *groups]))[same]
        return self

    def predict(self, rows: NDArray) -> NDArray:
        """The median of the members' predictions for rows (m, d), float64 (m,), without members that have none."""
        found = self.predictions(rows)
        if not len(found):
            return np.full(found.shape[1], self._constant)
        return np.median(found, axis=0) if np.isfinite(found).all() else np.nanmedian(found, axis=0)

    def predictions(self, rows: NDArray) -> NDArray:
        """What every member says of rows (m, d): float64 (members, m), in the order in which they were drawn.

        NaN for a member whose system turned out to be singular. There are no members where all rows were equal.
        """
        points = torch.from_numpy(self._scaled(rows))
        found = torch.empty(sum(len(group.genes) for group in self._groups), len(points), dtype=torch.float64)
        tasks, line = [], 0
        for group in self._groups:
            # few rows need not go member by member
            many = max(1, _PREDICTED // (max(1, len(points)) * group.cubic.shape[1]))
            for start in range(0, len(group.genes), many):
                some = _Members(*(part[start : start + many] for part in group))
                tasks.append((some, found[line : line + len(some.genes)]))
                line += len(some.genes)
        spread(lambda task: _predict_into(*task, points), tasks)
        return found.numpy()[self._places]

    def _scaled(self, rows: NDArray) -> NDArray:
        return np.asarray(rows, dtype=np.float64).reshape(-1, len(self.alphabet)) / self.alphabet


def _alike(rows: NDArray, genes: NDArray) -> list[NDArray]:
    """Members with `rows` (M,) distinct rows and `genes` (M,) genes, grouped so that little padding is needed."""
    order = np.lexsort((genes, rows))
    groups, start = [], 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            here, least = order[end], order[start]
            full = (end - start + 1) * (rows[here] + genes[order[start : end + 1]].max() + 1) ** 2 > _SOLVED
            far = rows[here] > 8 + 1.1 * rows[least] or abs(genes[here] - genes[least]) > 3
            if not (full or far):
                continue
        groups.append(order[start:end])
        start = end
    return groups


def _packed(masks: NDArray) -> tuple[Tensor, Tensor]:
    """The places of the true ones of masks (G, n), first to last: int64 (G, most), and 1 where there is one, else 0."""
    counts = masks.sum(1)
    places = np.argsort(~masks, axis=1, kind="stable")[:, : counts.max()]
    return torch.from_numpy(places), torch.from_numpy(np.arange(counts.max()) < counts[:, None]).double()


def _fitted(points: Tensor, values: Tensor, genes: NDArray, first: NDArray, eta: float) -> _Members:
    """Solves the systems of members (G, d) and (G, n) on points (n, d) with values (n,), all at once."""
    (places, used), (rows, known) = _packed(genes), _packed(first)
    count, most, tail = len(genes), rows.shape[1], 1 + places.shape[1]
    there = points[rows[:, :, None], places[:, None]] * used[:, None] * known[:, :, None]
    lengths = (there * there).sum(2, keepdim=True)
    ones = torch.ones_like(lengths)
    centres = torch.cat([-2 * there, ones, lengths], 2)
    squares = torch.bmm(torch.cat([there, lengths, ones], 2), centres.mT).clamp_min_(0)
    system = torch.zeros(count, tail + most, tail + most, dtype=torch.float64)
    system[:, tail:, tail:] = squares * squares.sqrt() * (known[:, :, None] * known[:, None])
    system[:, tail:, 0] = system[:, 0, tail:] = known
    system[:, tail:, 1:tail] = there
    system[:, 1:tail, tail:] = there.mT
    diagonal = torch.cat([torch.zeros_like(known[:, :1]), 1 - used, eta * known + (1 - known)], 1)
    system.diagonal(dim1=1, dim2=2).add_(diagonal - system.diagonal(dim1=1, dim2=2))
    right = torch.zeros(count, tail + most, 1, dtype=torch.float64)
    right[:, tail:, 0] = values[rows] * known
    solution, failed = torch.linalg.solve_ex(system, right)
    solution[failed != 0] = torch.nan
    return _Members(places, used, centres, solution[:, tail:], solution[:, 1:tail], solution[:, 0])


def _predict_into(members: _Members, found: Tensor, points: Tensor) -> None:
    """Puts the predictions of points (B, d) into found (G, B), as many points at a time as fit into a cache."""
    step = max(1, _PREDICTED // members.cubic[..., 0].numel())
    for start in range(0, len(points), step):
        found[:, start : start + step] = _values(members, points[start : start + step])


def _values(members: _Members, points: Tensor) -> Tensor:
    """(G, B) predictions of points (B, d)."""
    there = points.T[members.genes].mul_(members.used[:, :, None]).mT  # (G, B, K)
    lengths = (there * there).sum(2, keepdim=True)
    squares = torch.bmm(torch.cat([there, lengths, torch.ones_like(lengths)], 2), members.centres.mT).clamp_min_(0)
    cubes = squares.sqrt().mul_(squares)
    return (torch.bmm(cubes, members.cubic) + torch.bmm(there, members.linear))[:, :, 0] + members.constant
