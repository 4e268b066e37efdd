"""Children of rows: uniform crossover and polynomial mutation of whole numbers, as NAT's NSGA-III has them."""

from collections.abc import Callable, Sequence

import numpy as np
from moocore import pareto_rank
from numpy.typing import NDArray
from pymoo.operators.mutation.pm import mut_pm

from src.evolution.budget import keys

_BARREN = 20  # generations of children in a row without a new one, after which random rows are tried, then the end


def offspring(
    rows: NDArray,
    objectives: NDArray,
    count: int,
    alphabet: Sequence[int],
    seed: int,
    canonical: Callable[[NDArray], NDArray] | None = None,
    crossover: float = 0.9,
    mutation: float = 0.1,
    eta: float = 1.0,
) -> NDArray:
    """New rows by variation of known ones alone: what an evolution without a surrogate tries next.

    Each of two parents is the better of two random rows, by the rank of its front. Children that are known, or there
    already, are made again; if variation gives no new one any more, random rows fill up.

    Args:
        rows, objectives: (n, d), n > 0, and (n, n_obj), the smaller the better; may be inf.
        count: how many children.
        alphabet: (d,) how many values each gene has.
        seed: of all draws; keyed by the caller.
        canonical: rows (B, d) -> rows (B, d), one for all that mean the same. None: rows as they are.
        crossover, mutation, eta: as in nsga3.

    Returns:
        int64 (count, d), canonical, different from each other and from `rows`; fewer where there are no more.
    """
    canonical = canonical or (lambda given: given)
    alphabet, generator = np.asarray(alphabet, dtype=np.int64), np.random.default_rng(seed)
    rows = np.asarray(rows, dtype=np.int64)
    rank = pareto_rank(np.nan_to_num(np.asarray(objectives, dtype=np.float64), posinf=np.finfo(float).max))
    known, found, barren = set(keys(np.asarray(canonical(rows)))), [], 0
    while len(found) < count and barren < 2 * _BARREN:
        if barren < _BARREN:
            rivals = generator.integers(len(rows), size=(2, 2, count))
            parents = rows[np.where(rank[rivals[0]] <= rank[rivals[1]], *rivals)]
            taken = (generator.random((count, 1)) < crossover) & (generator.random((count, len(alphabet))) < 0.5)
            children = np.where(taken, parents[1], parents[0])
            children = polynomial_mutation(children, alphabet, mutation, eta, generator)
        else:
            children = generator.integers(alphabet, size=(count, len(alphabet)))
        children = np.asarray(canonical(children), dtype=np.int64)
        before = len(found)
        for key, child in zip(keys(children), children, strict=True):
            if key not in known:
                known.add(key)
                found.append(child)
        barren = 0 if len(found) > before and barren < _BARREN else barren + (len(found) == before)
    return np.array(found[:count], dtype=np.int64).reshape(-1, len(alphabet))


def polynomial_mutation(
    rows: NDArray,
    alphabet: NDArray,
    probability: float,
    eta: float,
    generator: np.random.Generator,
) -> NDArray:
    """Each gene of rows int64 (B, d) changes with a probability, by the less the larger `eta` is.

    Polynomial mutation (Deb, Agrawal 1999) of a real number, which is then rounded: a change may be none. A gene's
    interval goes half a step beyond its least and its largest value, so that these are as wide as all others.
    """
    low, high = np.full(rows.shape[1], -0.5), alphabet - 0.5
    every = np.ones(len(rows))
    moved = mut_pm(rows.astype(float), low, high, eta * every, probability * every, False, random_state=generator)
    return np.clip(np.rint(moved), 0, alphabet - 1).astype(np.int64)
