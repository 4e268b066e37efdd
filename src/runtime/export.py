"""Stand-alone programs of a trained network: `model.pt2` (torch.export) and `model.onnx`.

Both take images scaled to [0, 1], float32 (B, C, H, W) with any B, hold the normalisation, and need nothing of ours:

    torch.export.load("model.pt2").module()(images)
    onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})

Of a variational network give its `deterministic` copy; `src.runtime.monte_carlo_export` writes a program that draws.
Those of a cascade have its thresholds inside and leave early too: `src.networks.cascade_export` says how.
"""

import copy
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError, WriteError, check_choice
from src.networks.cascade import Cascade
from src.networks.cascade_export import ROUTES, ROUTES_TOLD, agrees, set_route
from src.runtime.export_formats import ONNX_PACKAGES, WRITERS, quiet
from src.runtime.mistakes import one_line
from src.whole_files import written_whole

TOLERANCE = 1e-4
FORMATS = ("pt2", "onnx")
_BATCHES = (1, 5)

log = logging.getLogger(__name__)


class Normalised(nn.Module):
    """A network in front of which images scaled to [0, 1] are normalised: network((images - mean) / std)."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1], float32 (B, C, H, W), to logits (B, classes)."""
        outputs = self.network((images - self.mean) / self.std)
        return outputs[0] if isinstance(outputs, (tuple, list)) else outputs

    def computes(self, images: Tensor, expected: Tensor, found: Tensor) -> bool:
        """Whether `found` are the outputs of `images`, `expected`, up to what rounding may change."""
        if found.shape != expected.shape:
            return False
        if isinstance(self.network, Cascade):
            return bool(agrees(self.network, (images - self.mean) / self.std, found).all())
        return torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def export_network(
    network: nn.Module,
    folder: str | os.PathLike,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    formats: Sequence[str] = FORMATS,
) -> dict[str, Path]:
    """Writes `network` to `folder` as stand-alone programs, each loaded again and compared with the network.

    Args:
        network: stays as it is; a copy goes to the CPU, to float32 and to evaluation mode.
        input_shape: (C, H, W) of the images.
        mean, std: C values each, of images scaled to [0, 1].
        formats: of "pt2" and "onnx".

    Returns:
        The files written, by format. ONNX is left out, with a logged message, where its packages are not installed.

    Raises:
        UserError: the outputs are not finite, the network cannot be traced, or a format cannot express it or changes
            its outputs by more than 1e-4 (of a cascade, its probabilities by more than two steps of half precision).
            The other formats are written first; of the failed one no file is left.
        WriteError: the disk is full or the like.
    """
    for name in formats:
        check_choice("formats", name, FORMATS)
        (Path(folder) / f"model.{name}").unlink(missing_ok=True)  # an earlier one is of another network
    check_statistics(input_shape, mean, std)
    whole = getattr(network, "_orig_mod", network)  # torch.compile wraps the network
    program = Normalised(copy.deepcopy(whole), mean, std).cpu().float().eval().requires_grad_(False)
    batches, expected = _reference(program, input_shape)
    files, failures = {}, []
    with torch.no_grad(), quiet():
        traces = _Traces(program, batches[-1])
        for name in formats:
            if lacks_packages(name, f"model.{name}"):
                continue
            try:
                files[name] = _written(name, traces, Path(folder), batches, expected)
            except WriteError:
                raise
            except Exception as error:  # exporters raise anything; what they say is told below
                failures.append((f"model.{name} cannot be written: {first_line(error)}", error))
    if failures:
        raise UserError("; ".join(told for told, _ in failures)) from failures[0][1]
    return files


def lacks_packages(name: str, file: str) -> bool:
    """Whether a format cannot be written for want of packages, with a logged message."""
    lacking = [] if name != "onnx" else [p for p in ONNX_PACKAGES if importlib.util.find_spec(p) is None]
    if lacking:
        log.warning("%s is not written: it needs `pip install %s`", file, " ".join(lacking))
    return bool(lacking)


def check_statistics(input_shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
    if len(input_shape) != 3:
        raise UserError(f"input_shape={tuple(input_shape)} must be (channels, height, width)")
    if len(mean) != input_shape[0] or len(std) != input_shape[0]:
        raise UserError(f"mean and std need {input_shape[0]} values, one a channel, not {len(mean)} and {len(std)}")
    if not all(value > 0 for value in std):
        raise UserError(f"std={tuple(std)} must be positive")


def _reference(program: nn.Module, input_shape: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Random images in [0, 1] in batches of 1 and 5, and what the network makes of them."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(size, *input_shape, generator=generator) for size in _BATCHES]
    expected = []
    for images in batches:
        try:
            with torch.no_grad():
                expected.append(program(images))
        except Exception as error:
            told = first_line(error)
            raise UserError(f"the network is not exported: it fails on images {tuple(images.shape)}, {told}") from error
    if not all(bool(outputs.isfinite().all()) for outputs in expected):
        raise UserError("the network is not exported: its outputs are not finite numbers")
    return batches, expected


class _Traces:
    """The network as one graph, for any batch size; a cascade in each of `ROUTES` that torch.export can trace."""

    def __init__(self, program: Normalised, images: Tensor) -> None:
        self.program, self.images = program, images
        self.routes = ROUTES if isinstance(program.network, Cascade) else ROUTES[-1:]
        self._found: dict[str, torch.export.ExportedProgram] = {}
        while self.routes[0] not in self._found:
            try:
                self.by(self.routes[0])
            except UserError:
                if len(self.routes) == 1:
                    raise
                self.routes = self.routes[1:]

    def by(self, route: str) -> torch.export.ExportedProgram:
        if route not in self._found:
            set_route(self.program, route)
            any_batch = {"images": {0: torch.export.Dim("batch")}}
            try:
                self._found[route] = torch.export.export(self.program, (self.images,), dynamic_shapes=any_batch)
            except Exception as error:
                told = f"torch.export cannot trace it, {first_line(error)}"
                raise UserError(f"the network is not exported: {told}") from error
            finally:
                set_route(self.program, None)
        return self._found[route]


def _written(name: str, traces: _Traces, folder: Path, batches: list[Tensor], expected: list[Tensor]) -> Path:
    """Writes one format by the first route that it can express; leaves no file where there is none."""
    for route in traces.routes:
        try:
            path = _written_by(name, traces.by(route), traces.program, folder, batches, expected)
        except WriteError:
            raise
        except Exception:
            if route == traces.routes[-1]:
                raise
            continue
        if isinstance(traces.program.network, Cascade) and route != ROUTES[0]:
            log.warning("%s: %s", path, ROUTES_TOLD[route])
        return path
    raise AssertionError("there is a last route")


def _written_by(
    name: str,
    traced: torch.export.ExportedProgram,
    program: Normalised,
    folder: Path,
    batches: list[Tensor],
    expected: list[Tensor],
) -> Path:
    """Writes one format and compares what the file computes with `expected`; leaves no file where they differ."""
    path = folder / f"model.{name}"
    write, load = WRITERS[name]
    with written_whole(path) as temporary:
        write(traced, batches[-1], temporary)
        run = load(temporary)
        for images, outputs in zip(batches, expected, strict=True):
            if not program.computes(images, outputs, run(images)):
                raise UserError(f"the file does not compute what the network computes, for a batch of {len(images)}")
    return path


def first_line(error: Exception) -> str:
    """The exporters' messages run over pages: their first line, with the kind of error."""
    if isinstance(error, UserError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:300]
