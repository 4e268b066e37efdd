"""Evaluations of rows, each unique one once and counted once, within a budget (ENCAS counts unique genotypes)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.errors import check_whole
from src.evolution.archive import Archive


class Answer(NamedTuple):
    """What is known of the rows asked for.

    rows: int64 (B, d), canonical. objectives: float64 (B, n_obj); inf where the budget was used up. new: bool (B,),
    asked for the first time ever. joined: bool (B,), those of the new rows that entered the archive by this.
    """

    rows: NDArray
    objectives: NDArray
    new: NDArray
    joined: NDArray


class UniqueEvaluations:
    """Objectives of rows: `evaluate` is called for canonical rows that were never asked for before, and for no others.

    Rows are told apart exactly (by their bytes, in a dict), whatever the number of rows there could be.

    Args:
        evaluate: int64 (B, d), canonical rows without repeats -> (B, n_obj) numbers, the smaller the better; inf is
            allowed, NaN is not.
        budget: unique canonical rows at most.
        canonical: rows (B, d) -> rows (B, d), one for all that mean the same; idempotent. None: rows as they are.
        known: rows (R, d) and objectives (R, n_obj) of an earlier run. They count, and enter the archive, when they
            are asked for the first time, but `evaluate` does not see them: a search with the same seed goes through
            them to where that run ended.
        archive: takes in what is evaluated; None: one with the defaults.

    Raises:
        ValueError: `evaluate` returned NaN, or not one line of numbers for each row.
    """

    def __init__(
        self,
        evaluate: Callable[[NDArray], NDArray],
        budget: int,
        canonical: Callable[[NDArray], NDArray] | None = None,
        known: tuple[NDArray, NDArray] | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.budget = check_whole("budget", budget, 1)
        self.archive = Archive() if archive is None else archive
        self.asked = 0  # rows, however often
        self._evaluate, self._canonical = evaluate, canonical
        self._places: dict[bytes, int] = {}
        self._rows = self._objectives = np.empty((0, 0))  # grown by doubling
        self._known: dict[bytes, int] = {}
        if known is not None and len(known[0]):
            given, self._known_objectives = self.canonical(known[0]), np.asarray(known[1], dtype=np.float64)
            self._known = {key: place for place, key in enumerate(keys(given))}

    @property
    def used(self) -> int:
        """How many unique rows have been asked for."""
        return len(self._places)

    @property
    def exhausted(self) -> bool:
        return len(self._places) >= self.budget

    @property
    def rows(self) -> NDArray:
        """All unique canonical rows, int64 (used, d), in the order of asking; with `objectives`, the next `known`."""
        return self._rows[: self.used]

    @property
    def objectives(self) -> NDArray:
        """Objectives of `rows`, float64 (used, n_obj)."""
        return self._objectives[: self.used]

    def canonical(self, rows: NDArray) -> NDArray:
        """The canonical rows int64 (B, d) of rows (B, d)."""
        rows = np.asarray(rows, dtype=np.int64)
        return rows if self._canonical is None else np.asarray(self._canonical(rows), dtype=np.int64)

    def __call__(self, rows: NDArray) -> NDArray:
        """Objectives float64 (B, n_obj) of rows (B, d), inf for new rows that the budget has no room for."""
        return self.ask(self.canonical(rows)).objectives

    def ask(self, rows: NDArray) -> Answer:
        """As a call, for rows int64 (B, d) that are canonical already, with more to tell."""
        places, before = self._places, len(self._places)
        self.asked += len(rows)
        names = keys(rows)
        found = np.array([places.setdefault(name, len(places)) for name in names], dtype=np.int64)
        while len(places) > self.budget:
            places.popitem()  # the last ones; they are among those just entered
        new = np.zeros(len(rows), dtype=bool)
        joined = np.zeros(len(rows), dtype=bool)
        if len(places) > before:
            fresh = np.flatnonzero((found >= before) & (found < self.budget))
            numbers, first = np.unique(found[fresh], return_index=True)
            fresh = fresh[first]  # in-batch repeats are not new
            self._store(before, rows[fresh], [names[place] for place in fresh])
            new[fresh] = True
            joined[fresh] = self.archive.add(rows[fresh], self._objectives[numbers])
        if len(self._objectives) == 0:
            return Answer(rows, np.full((len(rows), 0), np.inf), new, joined)
        if found.size and found.max() >= self.budget:
            objectives = self._objectives[np.minimum(found, self.budget - 1)]
            objectives[found >= self.budget] = np.inf
        else:
            objectives = self._objectives[found]
        return Answer(rows, objectives, new, joined)

    def _store(self, start: int, rows: NDArray, names: list[bytes]) -> None:
        objectives = self._values(rows, names)
        if len(self._rows) == 0:
            self._rows = np.empty((0, rows.shape[1]), dtype=np.int64)
            self._objectives = np.empty((0, objectives.shape[1]))
        end = start + len(rows)
        if end > len(self._rows):
            room = min(self.budget, max(end, 2 * len(self._rows), 1024))
            self._rows = _grown(self._rows, room)
            self._objectives = _grown(self._objectives, room)
        self._rows[start:end], self._objectives[start:end] = rows, objectives

    def _values(self, rows: NDArray, names: list[bytes]) -> NDArray:
        """The objectives of new rows, from what is known of an earlier run where it is."""
        if not self._known:
            return self._evaluated(rows)
        places = np.array([self._known.get(name, -1) for name in names])
        objectives = self._known_objectives[places]
        if (places < 0).any():
            objectives[places < 0] = self._evaluated(rows[places < 0])
        return objectives

    def _evaluated(self, rows: NDArray) -> NDArray:
        objectives = np.asarray(self._evaluate(rows), dtype=np.float64)
        if objectives.ndim != 2 or len(objectives) != len(rows):
            raise ValueError(f"{len(rows)} rows were to be evaluated, and values of shape {objectives.shape} came back")
        if np.isnan(objectives).any():
            raise ValueError(f"the objectives of row {rows[np.isnan(objectives).any(1)][0].tolist()} hold NaN")
        return objectives


def keys(rows: NDArray) -> list[bytes]:
    """A key for each row (B, d), equal for equal rows only: 2 bytes a gene, or 8 for rows that do not fit into that."""
    narrow = rows.astype(np.uint16)
    same = narrow == rows
    if same.all():
        return _bytes(narrow)
    fits = same.all(1)
    wide = _bytes(np.ascontiguousarray(rows, dtype=np.int64))
    return [short if fit else long for short, long, fit in zip(_bytes(narrow), wide, fits.tolist(), strict=True)]


def _bytes(rows: NDArray) -> list[bytes]:
    data, width = rows.tobytes(), rows.shape[1] * rows.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]


def _grown(array: NDArray, room: int) -> NDArray:
    grown = np.empty((room, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
