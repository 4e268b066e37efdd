"""The record of a search: every evaluated candidate, its Pareto front, and `candidates.csv`.

All objectives are to be made small: error in percent, MACs, parameters, and whatever a method adds as an extra figure.
"""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import moocore
import numpy as np

from src.errors import UserError, check_choice
from src.whole_files import write_whole

OBJECTIVES = ("error", "macs")
_BEFORE_EXTRA = ("id", "parent", "step", "error", "macs", "params")
_AFTER_EXTRA = ("is_pareto", "seconds", "architecture")
_OUTDATED = "outdated"  # a column where there are such candidates


@dataclass(frozen=True)
class Candidate:
    """One evaluated architecture.

    Args:
        id: number of the candidate in its search, from 0.
        parent: id of the candidate that it was made from, None for the first.
        step: epoch of the search (from 0) in which it was evaluated.
        error: validation error in percent; NaN where its training diverged.
        macs: multiply-accumulates of convolution and linear layers, one image.
        params: number of parameters.
        seconds: what it cost to train and evaluate.
        architecture: what makes the architecture, JSON-able; widths `{group: int}` for methods that search widths.
        extra: more figures by name, for example latency.
        outdated: whether it was judged with weights of a super-net that has been trained on since: its error can not
            be compared with that of the others, so that it is on no front and never the best.

    Numbers of numpy or torch become plain ones and `architecture` is copied, so that a candidate can lie in a
    checkpoint that loads with `weights_only=True` and does not change when the search goes on.
    """

    id: int
    parent: int | None
    step: int
    error: float
    macs: int
    params: int
    seconds: float
    architecture: dict
    extra: dict[str, float] = field(default_factory=dict)
    outdated: bool = False

    def __post_init__(self):
        clash = set(self.extra) & {*_BEFORE_EXTRA, *_AFTER_EXTRA, _OUTDATED}
        if clash:
            raise ValueError(f"extra figures {sorted(clash)} have the name of a column of their own")
        plain = {name: int(getattr(self, name)) for name in ("id", "step", "macs", "params")}
        plain |= {name: float(getattr(self, name)) for name in ("error", "seconds")}
        plain["parent"] = None if self.parent is None else int(self.parent)
        plain["outdated"] = bool(self.outdated)
        plain["architecture"] = json.loads(json.dumps(self.architecture, default=lambda scalar: scalar.item()))
        plain["extra"] = {str(name): float(value) for name, value in self.extra.items()}
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict:
        """Plain values only: safe in a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Candidate":
        """The candidate of `to_dict`, an old one too; raises `UserError` where keys are missing or unknown."""
        known = {entry.name for entry in fields(cls)}
        wrong = set(values) ^ known
        if wrong - {"extra", _OUTDATED}:
            raise UserError(f"a stored candidate has other fields than expected: {', '.join(sorted(wrong))}")
        return cls(**values)

    @property
    def widths(self) -> dict[str, int] | None:
        """The architecture where it is channel widths by group, None where it is something else."""
        values = self.architecture.values()
        whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
        return dict(self.architecture) if whole and self.architecture else None


def best_candidate(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate of lowest error (of equal ones the one of fewest MACs, then the first); None where none has one.

    Outdated ones do not count.
    """
    errors = [math.inf if candidate.outdated else candidate.error for candidate in candidates]
    lowest = min((error for error in errors if math.isfinite(error)), default=None)
    best = [candidate for candidate, error in zip(candidates, errors, strict=True) if error == lowest]
    return min(best, key=lambda candidate: (candidate.macs, candidate.id), default=None)


def objective_values(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> np.ndarray:
    """The objectives as an array (candidates, objectives) of float64; NaN where a candidate lacks an extra figure.

    Raises `UserError` for an objective that no candidate has.
    """
    allowed = {"error", "macs", "params", "seconds", *(name for candidate in candidates for name in candidate.extra)}
    for name in objectives:
        check_choice("objective", name, allowed)
    rows = [[c.extra.get(name, getattr(c, name, math.nan)) for name in objectives] for c in candidates]
    return np.array(rows, dtype=np.float64).reshape(len(candidates), len(objectives))


def pareto_mask(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> np.ndarray:
    """Which candidates no other one dominates, as booleans (candidates,); all `objectives` are to be made small.

    Of candidates with equal objectives all or none are members. A candidate with NaN or infinity (a diverged
    training) is never one, nor is an outdated one, which dominates none either.
    """
    if not candidates:
        return np.zeros(0, dtype=bool)
    values = objective_values(candidates, objectives)
    mask = np.isfinite(values).all(axis=1) & ~np.array([candidate.outdated for candidate in candidates])
    if mask.any():
        mask[mask] = moocore.is_nondominated(values[mask], keep_weakly=True)
    return mask


def pareto_front(candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES) -> list[Candidate]:
    """The members of the Pareto front, in the order of the last objective (MACs), then of the others."""
    members = [c for c, member in zip(candidates, pareto_mask(candidates, objectives), strict=True) if member]
    keys = objective_values(members, objectives)[:, ::-1].tolist() if members else []
    return [members[i] for i in sorted(range(len(members)), key=lambda i: (keys[i], members[i].id))]


def write_candidates(
    path: str | os.PathLike, candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES
) -> Path:
    """Writes all candidates as CSV, a row each, whole or not at all; extra figures get a column each.

    Where some are outdated a last column says which.
    """
    return write_whole(path, _csv_text(candidates, pareto_mask(candidates, objectives)))


def write_pareto(
    path: str | os.PathLike, candidates: Sequence[Candidate], objectives: Sequence[str] = OBJECTIVES
) -> Path:
    """Writes the Pareto front only, from few MACs to many, in the columns of `write_candidates`."""
    front = pareto_front(candidates, objectives)
    return write_whole(path, _csv_text(front, np.ones(len(front), dtype=bool)))


def _csv_text(candidates: Sequence[Candidate], mask: np.ndarray) -> str:
    extras = list(dict.fromkeys(name for candidate in candidates for name in candidate.extra))
    text = io.StringIO()
    columns = [*_BEFORE_EXTRA, *extras, *_AFTER_EXTRA]
    columns += [_OUTDATED] if any(candidate.outdated for candidate in candidates) else []
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for candidate, member in zip(candidates, mask, strict=True):
        row = vars(candidate) | candidate.extra | {"is_pareto": bool(member)}
        writer.writerow(row | {"architecture": json.dumps(candidate.architecture)})
    return text.getvalue()


def read_candidates(path: str | os.PathLike) -> list[Candidate]:
    """The candidates of a CSV of `write_candidates`; raises `UserError` that names file, line and column of a fault."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the candidates {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    missing = [name for name in (*_BEFORE_EXTRA, *_AFTER_EXTRA) if name not in columns]
    if missing:
        raise UserError(f"{path} is no list of candidates: column {', '.join(missing)} is missing")
    extras = [name for name in columns if name not in (*_BEFORE_EXTRA, *_AFTER_EXTRA, _OUTDATED)]
    return [_candidate_of_row(row, extras, f"{path}, line {line}") for line, row in enumerate(rows, start=2)]


def _candidate_of_row(row: dict[str, str], extras: Sequence[str], where: str) -> Candidate:
    def parse(name, convert, kind):
        try:
            return convert(row[name])
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}: column {name} holds {row[name]!r}, which is not {kind}") from error

    architecture = parse("architecture", json.loads, "JSON")
    if not isinstance(architecture, dict):
        raise UserError(f"{where}: column architecture holds {row['architecture']!r}, which is not a JSON object")
    return Candidate(
        **{name: parse(name, int, "a whole number") for name in ("id", "step", "macs", "params")},
        **{name: parse(name, float, "a number") for name in ("error", "seconds")},
        parent=parse("parent", lambda text: int(text) if text else None, "a whole number or empty"),
        architecture=architecture,
        extra={name: parse(name, float, "a number") for name in extras if row[name] != ""},
        outdated=_OUTDATED in row and bool(parse(_OUTDATED, ["False", "True"].index, "True or False")),
    )
