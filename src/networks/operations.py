"""The names of a block's operations: `ir_k3_e6`, `ir_k5_e3_se`, `skip`."""

import re
from typing import NamedTuple

from src.errors import UserError, did_you_mean

SKIP = "skip"
KERNELS = (3, 5, 7)
_NAME = re.compile(rf"ir_k([{''.join(map(str, KERNELS))}])_e([1-9]\d?)(_se)?")


class Operation(NamedTuple):
    """An inverted residual: depthwise kernel, factor of expansion, squeeze-and-excitation or not."""

    kernel: int
    expansion: int
    squeeze: bool

    @property
    def name(self) -> str:
        return f"ir_k{self.kernel}_e{self.expansion}" + "_se" * self.squeeze


def operation_named(name: str, where: str = "model.operations") -> Operation | None:
    """The operation of that name, None for `skip`; `UserError` that names `where` and the nearest name otherwise."""
    if name == SKIP:
        return None
    parts = _NAME.fullmatch(name) if isinstance(name, str) else None
    if parts is None:
        known = [SKIP, *(Operation(k, e, se).name for k in KERNELS for e in (1, 3, 6) for se in (False, True))]
        nearest = did_you_mean(str(name), known)
        nearest = nearest if nearest.startswith("did you mean") else f"such as {', '.join(known[1:4])} or {SKIP}"
        raise UserError(
            f"{where}={name!r} is not an operation; names are ir_k<3, 5 or 7>_e<expansion from 1 to 99>, with _se for "
            f"squeeze-and-excitation, and {SKIP}; {nearest}"
        )
    return Operation(int(parts[1]), int(parts[2]), parts[3] is not None)
