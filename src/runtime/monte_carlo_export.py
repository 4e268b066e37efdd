"""Stand-alone programs that draw: `model_monte_carlo.pt2` and `.onnx`, the mean prediction of S draws of the weights.

They take what `model.pt2` takes, images scaled to [0, 1], float32 (B, C, H, W) with any B, and give the log of the mean
of S softmaxes, (B, classes). Each call draws anew, from torch's generator or that of onnxruntime, and
runs all draws at once, in the memory of S batches.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError, WriteError
from src.runtime.export import Normalised, check_statistics, first_line, lacks_packages
from src.runtime.export_formats import WRITERS, quiet
from src.runtime.seeds import seeded
from src.variational.monte_carlo import MonteCarlo
from src.variational.parallel_monte_carlo import ParallelMonteCarlo
from src.whole_files import written_whole

CALLS = 8  # of which mean and spread of the probabilities are compared
DEVIATIONS = 8.0  # of the difference of two such means
FLOOR = 1e-3  # what rounding may do to a probability

log = logging.getLogger(__name__)


def export_monte_carlo(
    network: nn.Module,
    samples: int,
    folder: str | os.PathLike,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    formats: Sequence[str],
    noise: str = "weights",
) -> dict[str, Path]:
    """Writes the Monte-Carlo prediction of `network` by `samples` draws, in those of `formats` that can express it.

    What is written is loaded again: it must give finite numbers, others in each call, and over several calls the mean
    probabilities that the network gives, within what sampling explains. A format that cannot is left out, with a
    logged message. Returns the files by format; `noise` is that of `MonteCarlo`, other arguments are those of
    `export_network`.

    Raises:
        UserError: the network has no variational layers, or torch.export cannot trace it.
        WriteError: the disk is full or the like.
    """
    for name in formats:
        (Path(folder) / f"model_monte_carlo.{name}").unlink(missing_ok=True)  # an earlier one is of another network
    check_statistics(input_shape, mean, std)
    own, program = (
        Normalised(kind(network, samples, noise), mean, std).cpu().float().eval().requires_grad_(False)
        for kind in (MonteCarlo, ParallelMonteCarlo)
    )
    if not formats:
        return {}
    images = torch.rand(5, *input_shape, generator=torch.Generator().manual_seed(0))
    files = {}
    with torch.no_grad(), quiet(), seeded(0, "monte carlo export"):
        try:
            expected = _calls(own, images)
            any_batch = {"images": {0: torch.export.Dim("batch")}}
            traced = torch.export.export(program, (images,), dynamic_shapes=any_batch)
        except Exception as error:  # exporters raise anything
            raise UserError(f"Monte-Carlo prediction is not exported: {first_line(error)}") from error
        for name in formats:
            path = Path(folder) / f"model_monte_carlo.{name}"
            if lacks_packages(name, path.name):
                continue
            write, load = WRITERS[name]
            try:
                with written_whole(path) as temporary:
                    write(traced, images, temporary)
                    _check(load(temporary), images, expected)
            except WriteError:
                raise
            except Exception as error:
                log.warning("%s is not written: %s", path.name, first_line(error))
            else:
                files[name] = path
    return files


def _calls(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Probabilities (CALLS, B, classes)."""
    return torch.stack([run(images).exp() for _ in range(CALLS)]).double()


def _check(run: Callable[[Tensor], Tensor], images: Tensor, expected: Tensor) -> None:
    """Raises `UserError` where `run` does not draw as the network does; `expected`: what `_calls` gives of that."""
    found = _calls(run, images)
    if found.shape != expected.shape or run(images[:1]).shape != expected[0, :1].shape:
        raise UserError(f"it gives {tuple(found.shape[1:])}, not {tuple(expected.shape[1:])}")
    if not bool(found.isfinite().all()):
        raise UserError("what it gives is not finite")
    if torch.equal(found[0], found[1]):
        raise UserError("two calls give the same numbers: it does not draw")
    error = ((found.var(0) + expected.var(0)) / CALLS).sqrt()
    if bool(((found.mean(0) - expected.mean(0)).abs() > DEVIATIONS * error + FLOOR).any()):
        raise UserError("its mean probabilities are not those of the network")
