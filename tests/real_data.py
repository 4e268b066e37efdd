"""Real data for tests: taken from where it is, unpacked once into a cache outside the checkout, or else skipped."""

import gzip
import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

PACKED = Path(__file__).resolve().parents[2] / "shared" / "data"  # beside the repository, where there is such a folder
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "espalier" / "data"


def real_cifar10() -> Path:
    """The folder that holds the official `cifar-10-batches-py`; skips the test where CIFAR-10 is not to be had."""
    return _found("CIFAR-10", "cifar-10-batches-py", PACKED / "cifar10" / "unpack.py", _unpack_cifar10)


def real_mnist() -> Path:
    """The folder that holds the official `MNIST/raw`; skips the test where MNIST is not to be had."""
    return _found("MNIST", "MNIST", PACKED / "mnist", _unpack_mnist)


def _found(title: str, folder: str, packed: Path, unpack: Callable[[Path], None]) -> Path:
    roots = [Path(os.environ["ESPALIER_DATA"]).expanduser()] if "ESPALIER_DATA" in os.environ else []
    for root in [*roots, CACHE]:
        if (root / folder).is_dir():
            return root
    if not packed.exists():
        pytest.skip(f"{title} is absent: set ESPALIER_DATA to the folder that holds {folder}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        unpack(Path(scratch))
        try:
            os.replace(Path(scratch) / folder, CACHE / folder)  # whole or not at all, whoever else unpacks it now
        except OSError:
            if not (CACHE / folder).is_dir():
                raise
    return CACHE


def _unpack_cifar10(target: Path) -> None:
    arguments, path = sys.argv, list(sys.path)
    sys.argv = ["unpack.py", str(target)]
    try:
        runpy.run_path(str(PACKED / "cifar10" / "unpack.py"), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = arguments, path


def _unpack_mnist(target: Path) -> None:
    raw = target / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in (PACKED / "mnist").glob("*.gz"):
        with gzip.open(packed) as source, open(raw / packed.stem, "wb") as file:
            shutil.copyfileobj(source, file)
