"""The formats of exported programs: how each is written to a file, and run from there."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # the last one runs the check


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

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of constants in a branch that it has optimised away itself
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


WRITERS = {"pt2": (_write_pt2, _load_pt2), "onnx": (_write_onnx, _load_onnx)}


@contextmanager
def quiet() -> Iterator[None]:
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
