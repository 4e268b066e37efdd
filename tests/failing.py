"""Commands in processes of their own that start warm: torch and Lightning are imported once, by a server that forks."""

import atexit
import multiprocessing
import os
import resource
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SHORT = (
    "trainer=cpu",
    "trainer.threads=1",
    "logger=none",
    "data.limit=80",
    "data.batch_size=20",
    "method.trials=2",
    "method.epochs_per_trial=2",
    "model._target_=src.networks.resnet.ResNet",
    "+model.blocks=[1,1]",
    "+model.channels=[8,12]",
    "retrain.epochs=1",
    "retrain.repeats=1",
    "export.formats=[]",
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytorch_lightning", "torchvision", "plotly", "sklearn.datasets", "hydra"])


class Done(NamedTuple):
    code: int
    out: str
    err: str
    folder: Path


def run(script: str, folder: Path, *overrides: str, timeout: float = 120, limit: int | None = None) -> Done:
    """Runs `script` with a run folder `folder`; raises `TimeoutError` where it does not end in time.

    limit: bytes of the largest file that it may write.
    """
    pipes = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]  # no files: the disk may be full
    for pipe in pipes:
        os.mkfifo(pipe)
    arguments = [*overrides, f"hydra.run.dir={folder}"]
    process = _context.Process(target=_command, args=(script, arguments, *map(str, pipes), limit))
    process.start()
    with ThreadPoolExecutor(2) as readers:
        texts = [readers.submit(pipe.read_text) for pipe in pipes]
        process.join(timeout)
        late = process.is_alive()
        process.kill()
    out, err = (text.result() for text in texts)
    if late:
        raise TimeoutError(out + err)
    return Done(process.exitcode, out, err, folder)


def succeeded(script: str, folder: Path, *overrides: str, timeout: float = 120) -> Done:
    """A run that must end with a result."""
    done = run(script, folder, *overrides, timeout=timeout)
    assert done.code == 0, done.out + done.err
    return done


def _command(script: str, arguments: list[str], out: str, err: str, limit: int | None) -> None:
    for path, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY), stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.chdir(ROOT / "tests")  # where `faults` can be imported from
    sys.path.insert(0, str(ROOT))
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = [str(ROOT / script), *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing ends without them
