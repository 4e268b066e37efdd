"""Runs of the commands as processes: to their end, or until they are killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).parents[2]
ONE_DEVICE, TWO_RANKS = ("trainer=cpu",), ("trainer=ddp_cpu",)


def start(command: Sequence[str], *more: str, **environment: str) -> subprocess.Popen:
    """A command as a process group of its own, so that all its ranks can be killed at once."""
    script, *overrides = command
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *overrides, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def finished(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that has to end by itself; one that hangs is killed and fails."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        output, errors = process.communicate()
        raise AssertionError(f"it has not ended within {seconds} s:\n{output}\n{errors}") from None
    return process.returncode, output, errors


def completed(command: Sequence[str], *more: str, seconds: float = 120) -> str:
    """The output of a command that must succeed."""
    code, output, errors = finished(start(command, *more), seconds)
    assert code == 0, output + errors
    return output


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    """Sends a signal to all processes of the run; SIGKILL by default."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> bool:
    """Waits until `condition()` holds; whether it did before the process ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        if process.poll() is not None:
            return bool(condition())
        time.sleep(0.005)
    kill(process)
    raise AssertionError(f"nothing happened within {seconds} s")


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def architecture(folder: Path) -> dict:
    return yaml.safe_load((folder / "architecture.yaml").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file without timings."""
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds" and v != ""} for row in csv.DictReader(file)]


TABLES = ("candidates.csv", "comparison.csv", "metrics.csv")


def same_results(first: Path, second: Path, tables: Sequence[str] = TABLES) -> bool:
    """Whether two run folders hold the same architecture, tables (of a search: candidates too) and bits of weights."""
    assert architecture(first) == architecture(second)
    for name in tables:
        assert rows(first / name) == rows(second / name), name
    weights = [torch.load(folder / "weights.pt", weights_only=True) for folder in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    return True
