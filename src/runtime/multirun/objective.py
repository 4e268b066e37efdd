"""What a job is worth to a sweeper that optimises (Optuna): from the files of its run folder to one or two numbers."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

Objective = float | tuple[float, float]


def objective(table: Sequence[Mapping], candidates: Sequence[Mapping], with_macs: bool = False) -> Objective | None:
    """Validation error in percent of the network that a job found, or (error, MACs); both are to be made small.

    Args:
        table: lines of `comparison.csv`, one a training: the median of those of network `found` counts, and of a
            training by itself, which has no such network, that of its only network.
        candidates: lines of `candidates.csv`; the best of them stands in where nothing was trained after the search.
        with_macs: whether the MACs are the second objective.

    Returns:
        None where there is no finite number: the job has no worth, it has failed.
    """
    found = [line for line in table if line.get("network") == "found"] or list(table)
    pairs = [(_number(line.get("val_error")), _number(line.get("macs"))) for line in found]
    pairs = [(error, macs) for error, macs in pairs if math.isfinite(error)]
    if not pairs:
        tried = [(_number(line.get("error")), _number(line.get("macs"))) for line in candidates]
        pairs = sorted(pair for pair in tried if math.isfinite(pair[0]))[:1]
    if not pairs:
        return None
    error, macs = (median(values) for values in zip(*pairs, strict=True))
    if not with_macs:
        return error
    return (error, macs) if math.isfinite(macs) else None


def _number(text: object) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
