"""What a user did wrong, in one sentence.

`search.py` and `train.py` print a `UserError` without a stack trace and exit with 2; everything else is a defect of
ours and keeps its trace.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: says what was given, what is allowed and the nearest valid choice."""


def did_you_mean(given: str, allowed: Iterable[str], most: int = 3) -> str:
    """The end of an error sentence: the nearest of `allowed`, or all of them where none is near.

    >>> did_you_mean("dleta", ["delta", "trials"])
    "did you mean 'delta'?"
    """
    allowed, given = sorted(set(map(str, allowed))), str(given)
    slips = [choice for choice in allowed if is_slip(given, choice)]
    near = list(dict.fromkeys(slips + difflib.get_close_matches(given, allowed, n=most, cutoff=0.6)))[:most]
    if near:
        return f"did you mean {' or '.join(repr(choice) for choice in near)}?"
    return f"allowed: {', '.join(allowed)}" if allowed else "nothing is allowed here"


def is_slip(given: str, meant: str) -> bool:
    """Whether one letter more, less or changed, or two neighbours that changed places, makes `meant` into `given`.

    The ratio of `difflib` cannot see this in short names: of "lr" and "rl" only half is the same.
    """
    shorter = min(len(given), len(meant))
    start = next((i for i in range(shorter) if given[i] != meant[i]), shorter)
    given, meant = given[start:], meant[start:]
    swapped = given[:2] == meant[1::-1] and given[2:] == meant[2:]
    return given != meant and (swapped or given[1:] in (meant, meant[1:]) or given == meant[1:])


def check_choice(name: str, given: str, allowed: Iterable[str]) -> str:
    """`given`, if it is one of `allowed`; raises `UserError` with the nearest valid choice otherwise."""
    allowed = list(allowed)
    if given not in allowed:
        raise UserError(f"{name}={given!r} is not known; {did_you_mean(given, allowed)}")
    return given


def check_range(name: str, given: float, low: float | None = None, high: float | None = None) -> float:
    """`given`, if it is a number within [low, high]; raises `UserError` that names the range otherwise."""
    number = isinstance(given, (int, float)) and not isinstance(given, bool) and given == given
    if not number or (low is not None and given < low) or (high is not None and given > high):
        bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise UserError(f"{name}={given!r} is not allowed; it must be a number {bounds}")
    return given
