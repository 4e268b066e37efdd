"""What the test of a cascade has more than that of another network: it is not trained, and its MACs are measured."""

import warnings

from src.errors import UserError
from src.networks.cascade import NOT_TRAINED, Cascade
from src.networks.cascade_macs import fill_macs
from src.runtime.ranks.agreement import gathered


def check_cascade(task, test_only: bool) -> None:
    """Raises `UserError` where a cascade would be trained, or is for a task other than the choice of one class."""
    if getattr(task, "targets", "class") != "class":
        raise UserError("a cascade leaves off where one class is likely enough: it is for task=classification only")
    if not test_only:
        raise UserError(NOT_TRAINED)


def measured_macs(cascade: Cascade, input_shape: tuple[int, int, int]) -> float | None:
    """Average MACs of the images (C, H, W) that all ranks together have tested; call it on all ranks.

    Members whose MACs the config does not give are counted. None, with a warning, where one of them cannot be.
    """
    counts = [sum(counts) for counts in zip(*gathered(cascade.counts()), strict=True)]
    try:
        fill_macs(cascade, input_shape)
    except UserError as error:
        warnings.warn(f"MACs are not in the table: {error}", stacklevel=2)
        return None
    return cascade.average_macs(counts)
