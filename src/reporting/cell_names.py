"""How the parts of a cell are called in tables and figures."""

import re

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
