"""Which genes the members of an RBF ensemble look at, and which rows they can tell apart by these (NAT, ENCAS)."""

import numpy as np
from numpy.typing import NDArray

_SINGULAR = 1e-10  # least eigenvalue of the correlations of genes that count as independent of each other


def draw_members(
    points: NDArray,
    members: int,
    generator: np.random.Generator,
    smallest: int = 1,
) -> tuple[NDArray, NDArray]:
    """Draws for every member a random number of genes, then which ones, again until a linear tail can be fitted.

    That is: there are more distinct rows than genes, as in the original. Besides, no gene is drawn that is the same in
    all rows, or that is a linear function of others drawn: the original solves a singular system there.

    Args:
        points: (n, d) numbers.
        members: M, how many.
        smallest: genes of a member at least; fewer where the rows do not allow that many.

    Returns:
        genes, bool (M, d); first, bool (M, n): the first row of each set of rows that are equal in the member's genes.
        No members at all where all rows are equal: nothing can be fitted then. A single gene that varies always
        can, so that drawing ends.
    """
    codes = np.stack([np.unique(column, return_inverse=True)[1] for column in points.T], axis=1)
    varied = np.flatnonzero(codes.any(0))
    genes, first = np.zeros((0, points.shape[1]), dtype=bool), np.zeros((0, len(points)), dtype=bool)
    if not len(varied):
        return genes, first
    correlation = np.corrcoef(points[:, varied], rowvar=False).reshape(len(varied), len(varied))
    independent = np.linalg.eigvalsh(correlation)[0] > _SINGULAR
    # a random linear function of the codes, modulo 2^64, tells rows apart: two of them meet by chance in 2^-60 or so
    keys = generator.integers(1, 2**64 - 1, size=len(varied), dtype=np.uint64)
    marks = codes[:, varied].astype(np.uint64) * keys
    smallest = min(smallest, len(varied))
    while len(genes) < members:
        counts = generator.integers(smallest, len(varied) + 1, size=members)
        drawn = generator.random((members, len(varied))).argsort(1).argsort(1) < counts[:, None]
        there = _first(drawn.astype(np.uint64) @ marks.T)
        good = there.sum(1) > counts
        if not independent:
            good[good] = _least_eigenvalue(correlation, drawn[good]) > _SINGULAR
        wide = np.zeros((int(good.sum()), points.shape[1]), dtype=bool)
        wide[:, varied] = drawn[good]
        genes, first = np.concatenate([genes, wide]), np.concatenate([first, there[good]])
        if not good.any():
            smallest = max(1, smallest - 1)
    return genes[:members], first[:members]


def _first(labels: NDArray) -> NDArray:
    """Mask (M, n): whether no earlier place of the line has the same label (M, n)."""
    order = labels.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(labels, order, 1)
    news = np.ones(labels.shape, dtype=bool)
    news[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(news)
    np.put_along_axis(first, order, news, 1)
    return first


def _least_eigenvalue(correlation: NDArray, drawn: NDArray) -> NDArray:
    """(M,) of the correlations (d, d) of the genes drawn (M, d) alone; the others are put aside with eigenvalue 1."""
    both = drawn[:, :, None] & drawn[:, None]
    return np.linalg.eigvalsh(np.where(both, correlation, np.eye(len(correlation))))[:, 0]
