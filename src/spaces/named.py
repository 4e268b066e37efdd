"""Search spaces by their names, for methods that search any of them."""

from typing import Any

from src.errors import UserError, check_choice
from src.spaces.cell_space import CellSpace
from src.spaces.operation_space import OperationSpace
from src.spaces.space import SearchSpace
from src.spaces.subnet_space import SubnetSpace
from src.spaces.widths import WidthSpace

SPACES = {"widths": WidthSpace, "operations": OperationSpace, "cells": CellSpace, "subnets": SubnetSpace}
_WIDTHS = {"min_width": 8, "max_width": None, "width_multiple": 2, "shape": "base"}  # settings, where none is given


def named_space(
    base: dict[str, Any],
    input_shape: tuple[int, int, int],
    name: str = "widths",
    min_width: int = _WIDTHS["min_width"],
    max_width: int | None = _WIDTHS["max_width"],
    width_multiple: int = _WIDTHS["width_multiple"],
    shape: str = _WIDTHS["shape"],
) -> SearchSpace:
    """The space `name` about a model config; all other settings are those of `WidthSpace`.

    Raises:
        UserError: there is no such space, the model is none of it, or it has not a setting that was given.
    """
    check_choice("method.space", name, SPACES)
    if name == "widths":
        return WidthSpace(base, input_shape, min_width, max_width, width_multiple, shape)
    given = {"min_width": min_width, "max_width": max_width, "width_multiple": width_multiple, "shape": shape}
    for key, value in given.items():
        if value != _WIDTHS[key]:
            raise UserError(f"method.{key}={value!r} is a setting of method.space=widths; {name} have none such")
    return SPACES[name](base, input_shape)
