"""Two processes search together: both end with the same architecture and bit-equal weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.always.methods import METHODS
from tests.always.processes import ROOT, TWO_RANKS, completed, finished, kill, lines, rows, start, wait_for


def witnessed(folder) -> list[dict]:
    seen = [json.loads((folder / "seen" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert seen[0].pop("process") != seen[1].pop("process")
    assert seen[0]["ranks"] == 2
    return seen


def witness(folder) -> list[str]:
    return ["+callbacks.witness._target_=tests.always.witness.Witness", f"+callbacks.witness.folder={folder}/seen"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_both_ranks_end_with_the_same_network(method, tmp_path):
    folder = tmp_path / "run"
    completed(method.command, *TWO_RANKS, *witness(folder), f"hydra.run.dir={folder}")
    first, second = witnessed(folder)
    assert first == second
    evaluated = len(rows(folder / "candidates.csv"))
    assert evaluated
    assert method.candidates in (evaluated, None)


@pytest.mark.slow
def test_ranks_that_come_apart_end_the_run(tmp_path):
    """Nothing else would notice: DDP averages the gradients of two different networks without a word."""
    drift = "+callbacks.drift._target_=tests.always.witness.Drift"
    process = start([*METHODS[0].command, *TWO_RANKS, drift, f"hydra.run.dir={tmp_path / 'run'}"])
    code, _, errors = finished(process)
    assert code == 2
    assert "after epoch 2 the weights of rank 1 are not those of rank 0" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_torchrun_with_two_nodes_runs_a_search_to_its_end(tmp_path):
    """Two agents on this machine; each process composes its own config, and all must share one run folder."""
    command = METHODS[0].command
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"),
                *(f"--node_rank={node}", "--master_addr=127.0.0.1", f"--master_port={20000 + os.getpid() % 20000}"),
                *(str(ROOT / command[0]), *command[1:], "trainer=ddp", "trainer.accelerator=cpu"),
                *witness(tmp_path),
            ],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for node in (0, 1)
    ]
    for agent in agents:
        code, output, errors = finished(agent)
        assert code == 0, output + errors
    first, second = witnessed(tmp_path)
    assert first == second
    folders = list(tmp_path.glob("outputs/*/*"))
    assert len(folders) == 1
    assert (folders[0] / "comparison.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_others(victim, tmp_path):
    """Without a watch they wait for it: for ever, or as long as the timeout of the process group."""
    folder = tmp_path / "run"
    command = [*METHODS[0].command, *TWO_RANKS, "method.trials=500", "trainer.timeout_s=10", f"hydra.run.dir={folder}"]
    process = start(command)
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    ranks = [process.pid, *_children(process.pid)]
    assert len(ranks) == 2
    os.kill(ranks[victim], signal.SIGKILL)
    began = time.monotonic()
    code, _, errors = finished(process, 60)
    assert code != 0
    assert "Traceback" not in errors
    assert victim == 0 or "error: " in errors
    wait_for(lambda: not _alive(ranks[1 - victim]), process, 30)
    assert time.monotonic() - began < 30
    assert (folder / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_run_after_the_timeout(tmp_path):
    folder = tmp_path / "run"
    command = [*METHODS[0].command, *TWO_RANKS, "method.trials=500", "trainer.timeout_s=3", f"hydra.run.dir={folder}"]
    process = start(command)
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    child = _children(process.pid)[0]
    try:
        os.kill(child, signal.SIGSTOP)
        code, _, errors = finished(process, 60)
        assert code != 0
        assert "Traceback" not in errors
        wait_for(lambda: not _alive(child), process, 30)
    finally:
        kill(process)


def _children(pid: int) -> list[int]:
    """The ranks that rank 0 has started: its children that run the command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"search.py" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
