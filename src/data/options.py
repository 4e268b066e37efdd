"""Nodes of the config that hold the options of one augmentation."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from src.errors import UserError, did_you_mean


def checked_options(name: str, options: Any, kind: type, example: str) -> dict[str, Any] | None:
    """The node `name` as arguments of the dataclass `kind`; None where it is null.

    Raises:
        UserError: it is no mapping, or has a key that is no argument.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise UserError(f"{name}={options!r} is not allowed; it must be null or a mapping, {example} say")
    known = [field.name for field in fields(kind)]
    for key in options:
        if key not in known:
            raise UserError(f"{name}.{key} is not known; {did_you_mean(str(key), known)}")
    return dict(options)
