"""MO-GOMEA, the multi-objective gene-pool optimal mixing evolutionary algorithm, over rows of whole numbers.

Luong, La Poutre, Bosman 2014 (https://doi.org/10.1145/2576768.2598261) and 2018, with the interleaved multi-start
scheme, as ENCAS uses it. Every constant that is known of that use is an argument with that value. Reconstructed, since
it is not known: that the stretch without improvement is counted in generations of a population that bring nothing into
the archive; what ends a population and the search. Other than there, and said where it is: all individuals go step by
step together (mixing.py), ties in the linkage tree are broken at random (linkage.py), the archive keeps the first of
rows with equal objectives (archive.py), populations hold canonical rows, and what generations are due at the same time
is mixed together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import check_whole
from src.evolution.budget import UniqueEvaluations
from src.evolution.clusters import clustered
from src.evolution.linkage import jittered, linkage_tree, mutual_information
from src.evolution.mixing import Mixing, Mixture
from src.evolution.novelty import Novelty
from src.evolution.random_rows import random_rows
from src.evolution.variation import Variation

BARREN = 5  # generations without a new row that end a population
HOPELESS = 2  # populations in a row without any new row that end the search
NOVELTY = 0.05, 500_000  # share of new rows below which evolution ends, rows of the first stretch (see Novelty)


def mo_gomea(
    evaluations: UniqueEvaluations,
    alphabet: Sequence[int],
    seed: int,
    population: int = 8,
    growth: int = 2,
    generations: int = 2,
    populations: int = 20,
    overlap: float = 2.0,
    patience: int = 10,
    variation: Variation | None = None,
    report: Callable[[], None] | None = None,
) -> None:
    """Searches until the budget is used up, or hardly anything new is found.

    Population i = 0, 1, 2, ... has `population` times `growth`^i random individuals, never more than what is left of
    the budget, and n_obj + 1 + i clusters; it has one generation for each `generations` of population i - 1. A
    population ends when it brought nothing into the archive for `patience` generations, or no new row for 5; the next
    one then takes over its pace. When two populations in a row never had a new row, or the last of `populations` has
    ended, or fewer than 1 in 20 rows that all of them ask for are new (see Novelty), what is left of the budget goes to
    random rows, until these are hardly ever new either.

    Args:
        evaluations: what is searched; the result is its archive.
        alphabet: (d,) how many values each gene has; they are 0 .. alphabet - 1.
        seed: of all draws; keyed by the caller. With equal objectives, an equal seed gives the same search.
        overlap: a cluster holds `overlap` n / k individuals.
        variation: what goes beyond the published algorithm; None: nothing.
        report: called after every batch of evaluations.
    """
    for name, given, low in (
        ("population", population, 2),
        ("growth", growth, 1),
        ("generations", generations, 1),
        ("populations", populations, 1),
        ("patience", patience, 1),
    ):
        check_whole(name, given, low)
    generator, alphabet = np.random.default_rng(seed), np.asarray(alphabet, dtype=np.int64)
    variation, report = variation or Variation(), report or (lambda: None)
    mixing = Mixing(evaluations, alphabet, generator, variation, report)
    novelty = Novelty(evaluations, *NOVELTY, growing=True)
    started: list[_Population] = []
    while not evaluations.exhausted and not novelty.gone():
        due = []
        for number in range(populations):
            if number == len(started):
                if number >= HOPELESS and not any(one.found for one in started[-HOPELESS:]):
                    break
                size = min(population * growth**number, max(population, evaluations.budget - evaluations.used))
                started.append(_first_generation(evaluations, alphabet, size, number, generator))
                report()
            one = started[number]
            if not one.ended:
                due.append(one)
                one.age += 1
                if one.age % generations:
                    break
        if not due or evaluations.exhausted:
            break
        _generation(due, mixing, overlap)
        for one in due:
            one.ended = one.stretch >= patience or one.barren >= BARREN
    random_rows(evaluations, alphabet, int(generator.integers(2**62)), report=report)


@dataclass
class _Population:
    """rows: int64 (n, d), canonical. objectives: (n, n_obj). clusters: k. age: generations begun. found: whether any of
    its rows was new. stretch, barren: generations since it brought something into the archive, or had a new row."""

    rows: NDArray
    objectives: NDArray
    clusters: int
    found: bool
    age: int = 0
    stretch: int = 0
    barren: int = 0
    ended: bool = False


def _first_generation(
    evaluations: UniqueEvaluations,
    alphabet: NDArray,
    size: int,
    number: int,
    generator: np.random.Generator,
) -> _Population:
    rows = generator.integers(alphabet, size=(size, len(alphabet)))
    answer = evaluations.ask(evaluations.canonical(rows))
    clusters = answer.objectives.shape[1] + 1 + number
    return _Population(answer.rows, answer.objectives, clusters, found=bool(answer.new.any()))


def _generation(due: list[_Population], mixing: Mixing, overlap: float) -> None:
    """One generation of each of these populations: clusters, linkage trees, mixing, forced improvement."""
    generator = mixing.generator
    parts = [(one.rows, one.objectives, clustered(one.objectives, one.clusters, generator, overlap)) for one in due]
    information = np.concatenate([mutual_information(rows[clusters.members]) for rows, _, clusters in parts])
    sets = linkage_tree(jittered(information, generator))
    mixture = Mixture.of(parts, sets[:, :-1] if sets.shape[1] > 1 else sets)  # without the root
    changed = mixing.mix(mixture)
    if not mixing.evaluations.exhausted:
        long = np.array([one.stretch > 1 + math.floor(math.log10(len(one.rows))) for one in due])
        mixing.improve(mixture, np.flatnonzero(~changed | long[mixture.population]))
    for place, one in enumerate(due):
        mine = mixture.population == place
        one.rows, one.objectives = mixture.rows[mine], mixture.objectives[mine]
        one.stretch = 0 if mixture.joined[place] else one.stretch + 1
        one.barren = 0 if mixture.new[place] else one.barren + 1
        one.found |= mixture.new[place] > 0
