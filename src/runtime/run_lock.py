"""One process at a time works in a run folder: two that resume the same run would write over each other."""

import fcntl
import os
from pathlib import Path
from typing import IO

from src.errors import UserError
from src.whole_files import refusals_told

_held: dict[Path, IO[bytes]] = {}  # the system keeps them locked to the end of the process, however it comes


def lock_run_folder(folder: str | os.PathLike) -> None:
    """Locks `folder` for this process, in `<folder>/.hydra/lock`; call it in rank 0.

    Raises:
        UserError: another process that is alive has locked it.
    """
    path = Path(folder).resolve() / ".hydra" / "lock"
    if path in _held:
        return
    with refusals_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UserError(f"another process is at work in {folder}: wait until it has ended, or end it first") from error
    except OSError:  # a file system without locks
        file.close()
        return
    _held[path] = file
