"""Files that are written whole or not at all: whoever reads a run folder, also after a kill, finds no half file."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.errors import UserError, WriteError

# What torch says where its writer, in C++, does not get its bytes onto the disk.
TORCH_CANNOT_WRITE = r"PytorchStreamWriter failed|inline_container.*unexpected pos"


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; it takes the place of `path` once the block ends without error.

    A process that is killed in the block, and an error in it, leave an earlier file at `path` as it was. The temporary
    name keeps the suffix, because some writers choose the format by it.

    Raises:
        WriteError: the system refuses the file, for a full disk say.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with refusals_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """Errors of the system while the file at `path` is written end as a `WriteError` that names it.

    Those that are about another file, one that is read in the block say, pass as they are.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(error.filename).parent != path.parent:
            raise
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error
    except RuntimeError as error:  # torch writes in C++ and says no more than this
        if not re.search(TORCH_CANNOT_WRITE, str(error)):
            raise
        told = "the disk is full, or files may not be as large as this one"
        raise WriteError(f"{path} cannot be written: {told} ({str(error).splitlines()[0]})") from error


def write_whole(path: str | os.PathLike, text: str) -> Path:
    """Writes `text` to `path` in one step; raises `WriteError` where it cannot be written."""
    path = Path(path)
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def output_folder(folder: str | os.PathLike) -> Path:
    """`folder`, made if it was not there; raises `UserError` where it cannot be made or written to."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the output folder {folder} cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"the output folder {folder} is not writable; give another one or change its permissions")
    return folder
