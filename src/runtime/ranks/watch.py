"""What a rank does when another one has died: it gives up soon, instead of waiting for it for ever.

A rank that waits in a collective operation does not look at anything else, so a thread watches. After a death the
others have a while to end by themselves, because each may have something to say; then they are ended.
"""

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

PARENT = "ESPALIER_PARENT"  # in a further rank's environment: the process that started it
_EVERY_S = 0.5
_GRACE_S = 10  # at most; a shorter timeout of the run shortens it


def watch_children(processes: Sequence[subprocess.Popen], timeout_s: float) -> None:
    """In rank 0: once a further rank has failed, this process ends too, with the others; and it leaves none behind."""

    def dead() -> str | None:
        for rank, process in enumerate(processes, 1):
            if process.poll():  # neither running nor ended well
                return f"rank {rank} has ended with exit code {process.returncode}"
        return None

    def end(grace_s: float = 0) -> None:
        until = time.monotonic() + grace_s
        for process in processes:
            try:
                process.wait(max(0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    atexit.register(end, min(timeout_s, _GRACE_S))
    _watch(dead, end, min(timeout_s, _GRACE_S))


def watch_parent(parent: int, timeout_s: float) -> None:
    """In a further rank: once rank 0 is no more, this process ends too."""
    _watch(lambda: "rank 0 has ended" if os.getppid() != parent else None, lambda: None, min(timeout_s, _GRACE_S))


def _watch(dead: Callable[[], str | None], end: Callable[[], None], grace_s: float) -> None:
    def run() -> None:
        while (reason := dead()) is None:
            time.sleep(_EVERY_S)
        time.sleep(grace_s)
        end()
        print(f"error: {reason}, so this run ends", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread may wait in a collective operation, where no exception reaches it

    threading.Thread(target=run, daemon=True, name="rank-watch").start()
