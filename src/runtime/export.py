"""Stand-alone programs of a trained network: `model.pt2` (torch.export) and `model.onnx`.

Both take images scaled to [0, 1], float32 (B, C, H, W) with any B, hold the normalisation, and need nothing of ours:

    torch.export.load("model.pt2").module()(images)
    onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})
"""

import copy
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError, WriteError, check_choice
from src.runtime.mistakes import one_line
from src.whole_files import written_whole

TOLERANCE = 1e-4
FORMATS = ("pt2", "onnx")
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # the last one runs the check
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
            its outputs by more than 1e-4. The other formats are written first; of the failed one no file is left.
        WriteError: the disk is full or the like.
    """
    for name in formats:
        check_choice("formats", name, FORMATS)
        (Path(folder) / f"model.{name}").unlink(missing_ok=True)  # an earlier one is of another network
    _check_statistics(input_shape, mean, std)
    whole = getattr(network, "_orig_mod", network)  # torch.compile wraps the network
    program = Normalised(copy.deepcopy(whole), mean, std).cpu().float().eval().requires_grad_(False)
    batches, expected = _reference(program, input_shape)
    files, failures = {}, []
    with torch.no_grad(), _quiet():
        traced = _traced(program, batches[-1])
        for name in formats:
            lacking = [] if name != "onnx" else [p for p in _ONNX_PACKAGES if importlib.util.find_spec(p) is None]
            if lacking:
                log.warning("model.onnx is not written: it needs `pip install %s`", " ".join(lacking))
                continue
            try:
                files[name] = _written(name, traced, Path(folder), batches, expected)
            except WriteError:
                raise
            except Exception as error:  # exporters raise anything; what they say is told below
                failures.append((f"model.{name} cannot be written: {_first_line(error)}", error))
    if failures:
        raise UserError("; ".join(told for told, _ in failures)) from failures[0][1]
    return files


def _check_statistics(input_shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
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
            told = _first_line(error)
            raise UserError(f"the network is not exported: it fails on images {tuple(images.shape)}, {told}") from error
    if not all(bool(outputs.isfinite().all()) for outputs in expected):
        raise UserError("the network is not exported: its outputs are not finite numbers")
    return batches, expected


def _traced(program: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The network as one graph, for any batch size."""
    try:
        return torch.export.export(program, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
    except Exception as error:
        raise UserError(f"the network is not exported: torch.export cannot trace it, {_first_line(error)}") from error


def _written(
    name: str, traced: torch.export.ExportedProgram, folder: Path, batches: list[Tensor], expected: list[Tensor]
) -> Path:
    """Writes one format and compares what the file computes with `expected`; leaves no file where they differ."""
    path = folder / f"model.{name}"
    write, load = _WRITERS[name]
    with written_whole(path) as temporary:
        write(traced, batches[-1], temporary)
        run = load(temporary)
        for images, outputs in zip(batches, expected, strict=True):
            found = run(images)
            if found.shape != outputs.shape or not torch.allclose(found, outputs, rtol=TOLERANCE, atol=TOLERANCE):
                raise UserError(f"the file does not compute what the network computes, for a batch of {len(images)}")
    return path


def _write_pt2(traced: torch.export.ExportedProgram, images: Tensor, path: Path) -> None:
    content = io.BytesIO()  # torch's own writer ends the process where the disk is full
    torch.export.save(traced, content)
    path.write_bytes(content.getbuffer())


def _load_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(path).module()


def _write_onnx(traced: torch.export.ExportedProgram, images: Tensor, path: Path) -> None:
    torch.onnx.export(
        traced,
        (images,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,  # one file; ONNX holds up to 2 GB in one
        verbose=False,
    )


def _load_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


_WRITERS = {"pt2": (_write_pt2, _load_pt2), "onnx": (_write_onnx, _load_onnx)}


def _first_line(error: Exception) -> str:
    """The exporters' messages run over pages: their first line, with the kind of error."""
    if isinstance(error, UserError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporters' progress messages, and their warnings about their own insides, off the console."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
