"""`method.reference`: the point up to which a hypervolume is measured."""

from collections.abc import Sequence

from src.errors import UserError


def checked_reference(reference: Sequence[float] | None, cost: str) -> tuple[float, float] | None:
    """The reference (error in percent, `cost`) of a config, None where there is none; `UserError` for anything else."""
    if reference is None:
        return None
    right = isinstance(reference, (list, tuple)) and len(reference) == 2
    right = right and all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1e30 for v in reference)
    if not right:
        raise UserError(
            f"method.reference={reference!r} is not allowed; it must be null or [error in percent, {cost}], both above "
            "0"
        )
    return float(reference[0]), float(reference[1])
