"""What a user did wrong, in one sentence.

`search.py` and `train.py` print a `UserError` without a stack trace and exit with 2; everything else is a defect of
ours and keeps its trace.
"""

import difflib
import math
import os
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """A mistake in what the user gave: says what was given, what is allowed and the nearest valid choice."""


class WriteError(UserError):
    """A file that could not be written: a full disk, a missing permission. Never a reason to go on without it."""


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


def check_choices(name: str, given: Sequence[str], allowed: Iterable[str]) -> list[str]:
    """The names in the list `given`, none twice; raises `UserError` where it is no list or one is not `allowed`."""
    allowed = list(allowed)
    if not isinstance(given, (list, tuple)):
        raise UserError(f"{name}={given!r} is not allowed; it must be a list of {', '.join(allowed)}")
    return list(dict.fromkeys(check_choice(name, one, allowed) for one in given))


def check_range(name: str, given: float, low: float | None = None, high: float | None = None) -> float:
    """`given`, if it is a finite number within [low, high]; raises `UserError` that names the range otherwise."""
    number = isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < math.inf
    if not number or (low is not None and given < low) or (high is not None and given > high):
        bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise UserError(f"{name}={given!r} is not allowed; it must be a number {bounds}")
    return given


def check_whole(name: str, given: int, low: int, high: int | None = None) -> int:
    """`given`, if it is a whole number within [low, high]; raises `UserError` that names the range otherwise."""
    if type(given) is not int or given < low or (high is not None and given > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise UserError(f"{name}={given!r} is not allowed; it must be a whole number {bounds}")
    return given


def check_betas(name: str, given: Sequence[float]) -> tuple[float, float]:
    """The two decay rates of Adam, each from 0 to below 1, as a tuple; raises `UserError` otherwise."""
    if not isinstance(given, (list, tuple)) or len(given) != 2:
        raise UserError(f"{name}={given!r} is not allowed; it must be two numbers, such as [0.9, 0.999]")
    first, second = (check_range(name, beta, 0, 0.999999) for beta in given)
    return first, second


def check_flag(name: str, given: bool) -> bool:
    """`given`, if it is true or false; raises `UserError` otherwise: Python takes any word, "no" too, for true."""
    if not isinstance(given, bool):
        raise UserError(f"{name}={given!r} is not allowed; it must be true or false")
    return given


def check_text(name: str, given: str | os.PathLike) -> str:
    """`given` as text, if it is a text that is not empty, or a path; raises `UserError` otherwise."""
    if not isinstance(given, (str, os.PathLike)) or not str(given):
        raise UserError(f"{name}={given!r} is not allowed; it must be a text")
    return str(given)
