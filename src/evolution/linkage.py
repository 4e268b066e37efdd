"""Which genes belong together: mutual information between genes, and the linkage tree that UPGMA builds from it.

As in MO-GOMEA (Luong, La Poutre, Bosman 2014, https://doi.org/10.1145/2576768.2598261), for several groups of rows at
once, because groups are small and many.
"""

import numpy as np
from numpy.typing import NDArray


def mutual_information(groups: NDArray) -> NDArray:
    """MI(X, Y) = H(X) + H(Y) - H(X, Y), in bits, of all pairs of genes, by relative frequencies.

    Args:
        groups: whole numbers from 0, (G, n, d): G groups of n rows of d genes.

    Returns:
        float64 (G, d, d), symmetric, with the entropy of each gene on its diagonal.
    """
    count, _, genes = groups.shape
    first, second = np.triu_indices(genes)
    pairs = groups[:, :, first] * (int(groups.max(initial=0)) + 1) + groups[:, :, second]
    joint = np.empty((count, genes, genes))
    joint[:, first, second] = joint[:, second, first] = _entropies(pairs)
    alone = np.diagonal(joint, axis1=1, axis2=2)
    return alone[:, :, None] + alone[:, None, :] - joint


def _entropies(values: NDArray) -> NDArray:
    """Entropies in bits (G, p) of the n values along the middle axis of (G, n, p)."""
    count, size, columns = values.shape
    ordered = np.sort(values.transpose(0, 2, 1).reshape(-1, size), axis=1)
    starts = np.ones(ordered.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at = np.flatnonzero(starts)
    runs = np.diff(at, append=starts.size)  # how often each value comes; no run goes past the end of its column
    weights = np.arange(size + 1) * np.log2(np.maximum(np.arange(size + 1), 1))
    sums = np.bincount(at // size, weights=weights[runs], minlength=count * columns)
    return (np.log2(size) - sums / size).reshape(count, columns)


def linkage_tree(similarity: NDArray) -> NDArray:
    """The sets of genes that UPGMA merges, most similar first, for G similarities at once.

    The two most similar sets are merged, until one is left; the similarity of two sets is the mean over the pairs of
    their genes. (MO-GOMEA follows a nearest-neighbour chain: the same tree where no two similarities are equal. Where
    some are, which is often so in small groups, the first pair is taken; see `jittered`.)

    Args:
        similarity: (G, d, d), symmetric.

    Returns:
        bool (G, 2d - 1, d): the single genes, then the merged sets in the order of merging; the last is the root.
    """
    count, genes, _ = similarity.shape
    sets = np.zeros((count, 2 * genes - 1, genes), dtype=bool)
    sets[:, :genes] = np.eye(genes, dtype=bool)
    current = sets[:, :genes].copy()  # the set at each place that is still in use
    sizes = np.ones((count, genes))
    similarity = similarity.astype(np.float64)
    places, each = np.arange(genes), np.arange(count)
    similarity[:, places, places] = -np.inf
    for merge in range(genes, 2 * genes - 1):
        one, other = np.divmod(similarity.reshape(count, -1).argmax(1), genes)
        weight = sizes[each, one], sizes[each, other]
        total = weight[0] + weight[1]
        mean = weight[0][:, None] * similarity[each, one] + weight[1][:, None] * similarity[each, other]
        mean /= total[:, None]
        similarity[each, one] = similarity[each, :, one] = mean
        similarity[each, one, one] = -np.inf
        similarity[each, other] = similarity[each, :, other] = -np.inf
        sizes[each, one] = total
        current[each, one] |= current[each, other]
        sets[:, merge] = current[each, one]
    return sets


def jittered(similarity: NDArray, generator: np.random.Generator, size: float = 1e-9) -> NDArray:
    """`similarity` (G, d, d) with a little noise, so that which of equal ones comes first is a matter of chance."""
    noise = size * generator.random(similarity.shape)
    return similarity + noise + noise.transpose(0, 2, 1)
