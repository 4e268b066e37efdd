"""Batch norms that normalise without taking note."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within the block, batch norms of `module` that train use the batch's statistics, but their own stay, bit for bit.

    For a step that trains architecture parameters: its images are not to reach the statistics that the weights have.
    Batch norms in evaluation mode, which use their running statistics, go on to do so. Those of several processes
    (SyncBatchNorm) are batch norms too.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False  # in training mode running statistics are then neither read nor written
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
