"""MO-GOMEA over rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from src.evolution.budget import UniqueEvaluations
from src.evolution.clusters import clustered
from src.evolution.linkage import jittered, linkage_tree, mutual_information
from src.evolution.mixing import improve, mix, stacked


@dataclass
class Population:
    rows: NDArray
    objectives: NDArray
    clusters: int
    generations: int = 0
    stretch: int = 0
    barren: int = 0
    ended: bool = False
    ever_new: bool = False
    log: list = field(default_factory=list)


def mo_gomea(
    evaluations: UniqueEvaluations,
    alphabet: Sequence[int],
    seed: int,
    population: int = 8,
    base: int = 2,
    populations: int = 20,
    patience: int = 5,
    stale: int = 10**9,
    report: Callable[[], None] | None = None,
    log=None,
) -> None:
    report = report or (lambda: None)
    alphabet = np.asarray(alphabet, dtype=np.int64)
    generator = np.random.default_rng(seed)
    all_populations: list[Population] = []

    def created() -> Population:
        number = len(all_populations)
        rows = generator.integers(alphabet, size=(population * 2**number, len(alphabet)))
        rows = evaluations.canonical(rows)
        answer = evaluations.ask(rows)
        report()
        all_populations.append(
            Population(rows, answer.objectives, answer.objectives.shape[1] + 1 + number, ever_new=bool(answer.new.any()))
        )
        return all_populations[-1]

    while not evaluations.exhausted:
        due = []
        for number in range(populations):
            one = all_populations[number] if number < len(all_populations) else created()
            if evaluations.exhausted:
                return
            if one.ended:
                continue
            due.append(one)
            one.generations += 1
            if one.generations % base:
                break
        if not due:
            return
        parts = [(p.rows, p.objectives, clustered(p.objectives, p.clusters, generator)) for p in due]
        information = [mutual_information(p.rows[c.members]) for p, (_, _, c) in zip(due, parts, strict=True)]
        sets = linkage_tree(jittered(np.concatenate(information), generator))
        sets = sets[:, : -1 if len(alphabet) > 1 else None]
        mixture = stacked(parts, sets)
        changed = mix(mixture, evaluations, generator, report)
        if evaluations.exhausted:
            return
        long = np.array([p.stretch > 1 + math.floor(math.log10(len(p.rows))) for p in due])
        improve(mixture, np.flatnonzero(~changed | long[mixture.population]), evaluations, generator, report)
        for place, p in enumerate(due):
            mine = mixture.population == place
            p.rows, p.objectives = mixture.rows[mine], mixture.objectives[mine]
            p.stretch = 0 if mixture.joined[place] else p.stretch + 1
            p.barren = 0 if mixture.new[place] else p.barren + 1
            p.ended = p.barren >= patience or p.stretch >= stale
            if log is not None:
                log.append((evaluations.used, len(p.rows), p.generations, int(mixture.new[place]), int(mixture.joined[place]), p.ended))
