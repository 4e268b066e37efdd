"""Files that are written whole or not at all: whoever reads a run folder, also after a kill, finds no half file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.errors import UserError


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; it takes the place of `path` once the block ends without error.

    A process that is killed in the block, and an error in it, leave an earlier file at `path` as it was. The temporary
    name keeps the suffix, because some writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike, text: str) -> Path:
    """Writes `text` to `path` in one step; raises `UserError` where the folder cannot be written."""
    path = Path(path)
    try:
        with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
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
