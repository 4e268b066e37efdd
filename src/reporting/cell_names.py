"""Cells in words: short names of operations, and a genotype in a line."""

import re
from collections.abc import Iterable, Mapping, Sequence

_KINDS = {"skip_connect": "skip", "max_pool_3x3": "max", "avg_pool_3x3": "avg", "none": "none"}
_CONVOLUTION = re.compile(r"(sep|dil)_conv_(\d+)x\2")


def short_operation(name: str) -> str:
    """`sep3` for sep_conv_3x3, `skip`, `max`, `avg`; a name that is not known as it is."""
    found = _CONVOLUTION.fullmatch(name)
    return found[1] + found[2] if found else _KINDS.get(name, name)


def is_parameter_free(name: str) -> bool:
    """Whether an operation is a pool or a skip (which has weights at stride 2 all the same)."""
    return name in _KINDS


def state_name(state: int) -> str:
    """`node 1` for state 3; of the inputs of a cell the name in HTML."""
    return f"c<sub>k-{2 - state}</sub>" if state < 2 else f"node {state - 2}"


def short_cells(genotype: Mapping[str, Iterable]) -> str:
    """A genotype in a line: `normal: sep3(0) skip(1) | max(0) dil5(2); reduce: ...`, nodes divided by `|`.

    In brackets the state that is read: 0 and 1 are the inputs of the cell, 2 + i is node i.
    """
    return "; ".join(f"{cell}: {_short_nodes(genotype[cell])}" for cell in ("normal", "reduce"))


def _short_nodes(nodes: Iterable[Sequence]) -> str:
    return " | ".join(" ".join(f"{short_operation(name)}({state})" for name, state in node) for node in nodes)
