"""The rules by which trials are accepted."""

import numpy as np
import pytest

from src.evolution.budget import UniqueEvaluations
from src.evolution.clusters import clustered
from src.evolution.linkage import jittered, linkage_tree, mutual_information
from src.evolution.mixing import Mixing, Mixture
from src.evolution.variation import Variation
from tests.evolution.row_problems import synthetic

ALPHABET = np.array([19, 19, 51, 51])


def first_mixture(seed: int, variation: Variation | None = None) -> tuple[Mixing, Mixture]:
    """Two populations, of 8 and 32 random individuals, of a problem all of whose rows have been seen by nobody."""
    generator = np.random.default_rng(seed)
    evaluations = UniqueEvaluations(synthetic, 10**6)
    parts, information = [], []
    for size, clusters in ((8, 3), (32, 5)):
        rows = generator.integers(ALPHABET, size=(size, 4))
        objectives = evaluations(rows)
        parts.append((rows, objectives, clustered(objectives, clusters, generator)))
        information.append(mutual_information(rows[parts[-1][2].members]))
    mixture = Mixture.of(parts, linkage_tree(jittered(np.concatenate(information), generator))[:, :-1])
    return Mixing(evaluations, ALPHABET, generator, variation or Variation(), lambda: None), mixture


def test_a_mixture_keeps_populations_and_clusters_apart():
    _, mixture = first_mixture(0)
    for one, own in enumerate(mixture.own.tolist()):
        members = mixture.members[mixture.starts[own] :][: mixture.sizes[own]]
        assert set(mixture.population[members].tolist()) == {mixture.population[one]}
        assert own < 3 if mixture.population[one] == 0 else own >= 3
    assert mixture.sizes.tolist() == [5, 5, 5, 12, 12, 12, 12, 12]


@pytest.mark.parametrize("seed", range(5))
def test_mixing_recombines_what_a_population_has_and_accepts_by_the_rules(seed: int):
    mixing, mixture = first_mixture(seed)
    rows, before = mixture.rows.copy(), mixture.objectives.copy()
    changed = mixing.mix(mixture)
    assert np.array_equal(changed, (rows != mixture.rows).any(1))  # a way back would be a coincidence
    assert np.array_equal(mixture.objectives, synthetic(mixture.rows))
    assert mixture.new.sum() + 40 == mixing.evaluations.used
    for population in (0, 1):
        mine = mixture.population == population
        for gene in range(4):
            assert np.isin(mixture.rows[mine, gene], rows[mine, gene]).all()
    kept = np.arange(40)[~mixture.middle]
    focus = mixture.extreme[kept]
    assert len(kept)
    assert (mixture.objectives[kept, focus] <= before[kept, focus]).all()
    archive = mixing.evaluations.archive
    middle = mixture.middle & changed
    weakly = (mixture.objectives <= before).all(1)
    assert (weakly | ~dominated_at_the_start(before, mixture.objectives))[middle].all()
    assert not archive.dominated(archive.objectives).any()


def dominated_at_the_start(before: np.ndarray, points: np.ndarray) -> np.ndarray:
    """What the first archive dominated: no later one would have let it pass."""
    return ((before[None] <= points[:, None]).all(2) & (before[None] < points[:, None]).any(2)).any(1)


@pytest.mark.parametrize("seed", range(5))
def test_forced_improvement_ends_in_something_better_or_in_the_archive(seed: int):
    mixing, mixture = first_mixture(seed)
    rows, before = mixture.rows.copy(), mixture.objectives.copy()
    members = {tuple(row) for row in mixing.evaluations.archive.rows.tolist()}
    places = np.arange(0, 40, 2)
    mixing.improve(mixture, places)
    assert np.array_equal(mixture.rows[1::2], rows[1::2])
    assert np.array_equal(mixture.objectives, synthetic(mixture.rows))
    improved = 0
    for one in places.tolist():
        now, old = mixture.objectives[one], before[one]
        if mixture.middle[one]:
            joined = not dominated_at_the_start(before, now[None])[0]
            better = joined or ((now <= old).all() and (now < old).any())
        else:
            better = now[mixture.extreme[one]] < old[mixture.extreme[one]]
        assert better or tuple(mixture.rows[one].tolist()) in members
        improved += better
    assert improved


def test_mutation_brings_genes_that_no_individual_has():
    """The published algorithm can never leave the values of its first individuals."""
    mixing, mixture = first_mixture(0, Variation(mutation=0.5))
    first = [set(column.tolist()) for column in mixture.rows.T]
    mixture.rows[:] = mixture.rows[0]
    mixture.objectives[:] = mixture.objectives[0]
    mixing.mix(mixture)
    assert any(
        not set(column.tolist()) <= known for column, known in zip(mixing.evaluations.rows.T, first, strict=True)
    )


def test_elite_donors_are_near_members_of_the_archive():
    mixing, mixture = first_mixture(0)
    archive = mixing.evaluations.archive
    given = Variation(elite=1.0, nearest=2000).with_elite(
        mixture.rows.copy(), mixture.objectives, archive, np.random.default_rng(0)
    )
    span = np.ptp(archive.objectives, axis=0)
    apart = (((archive.objectives[None] - mixture.objectives[:, None]) / span) ** 2).sum(2)
    assert np.array_equal(given, archive.rows[apart.argmin(1)])
