"""Work that the ranks of a run divide among themselves: each item is done once, and all ranks get all results."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from src.errors import UserError
from src.runtime.ranks.agreement import gathered, rank, world_size

Item = TypeVar("Item")
Result = TypeVar("Result")


def shares(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Which items each rank does, as lists of indices in ascending order, so that the dearest share is cheap.

    The items go from dear to cheap to the rank that has least so far (Graham 1969: at most 4/3 of the best possible).
    The same on every rank, as it depends on the arguments alone.
    """
    loads, parts = [0.0] * ranks, [[] for _ in range(ranks)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        idle = min(range(ranks), key=lambda r: (loads[r], r))
        loads[idle] += costs[index]
        parts[idle].append(index)
    return [sorted(part) for part in parts]


def own_share(costs: Sequence[float]) -> list[int]:
    """The indices of the items that this process does: all of them where it is alone."""
    return shares(costs, world_size())[rank()]


def sharded_map(
    evaluate: Callable[[Item], Result], items: Sequence[Item], costs: Sequence[float] | None = None
) -> list[Result]:
    """`[evaluate(item) for item in items]`, on all ranks, with every item evaluated on one of them.

    For candidates of a search, say. `evaluate` works on this process alone (no DDP forward, nothing collective), and
    what it returns can be pickled. Call it on all ranks with equal `items` and `costs` (of equal items: None).

    Raises:
        what `evaluate` raised, on every rank, so that none waits for another one.
    """
    results: dict[int, Any] = {}
    failure: Exception | None = None
    for index in own_share(costs if costs is not None else [1.0] * len(items)):
        try:
            results[index] = evaluate(items[index])
        except Exception as error:
            failure = error
            break
    told = None if failure is None else (isinstance(failure, UserError), f"{type(failure).__name__}: {failure}")
    merged: dict[int, Any] = {}
    failures = []
    for source, (part, problem) in enumerate(gathered((results, told))):
        merged |= part
        if problem is not None:
            failures.append((source, problem))
    if failure is not None:
        raise failure
    if failures:
        source, (users, text) = failures[0]
        raise UserError(text.partition(": ")[2]) if users else RuntimeError(f"rank {source}: {text}")
    return [merged[index] for index in range(len(items))]
