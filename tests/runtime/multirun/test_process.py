"""A job's process: what becomes of it, its helpers and its output when it ends or has to."""

import os
import signal
import sys
import time

import pytest

from src.runtime.multirun import process
from src.runtime.multirun.process import StopSign, run_process

HELPER = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"


@pytest.fixture
def stop(tmp_path):
    return StopSign(str(tmp_path))


def run(code, stop, **options):
    return run_process([sys.executable, "-c", code], os.environ, stop.folder, stop, **options)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("code", "wanted"), [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(0, 9)", -9)])
def test_its_exit_code_is_told(stop, code, wanted):
    """A signal to its whole group does not reach us."""
    assert run(code, stop) == wanted


def test_lines_of_jobs_side_by_side_are_told_apart(stop, capfd):
    run("import sys; print('a'); print('b', end=''); print('c', file=sys.stderr)", stop, prefix="[job 2] ")
    assert capfd.readouterr() == ("[job 2] a\n[job 2] b\n", "[job 2] c\n")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="asks /proc")
def test_what_it_leaves_behind_is_ended(stop, capfd, monkeypatch):
    """A rank that hangs after the first has failed would hold the GPU that the next job needs."""
    monkeypatch.setattr(process, "_SECONDS_FOR_GROUP", 0.2)
    assert run(HELPER, stop) == 0
    pid = int(capfd.readouterr().out)
    time.sleep(0.1)
    assert not is_running(pid)


def test_one_that_does_not_end_when_told_is_killed(stop, monkeypatch):
    monkeypatch.setattr(process, "SECONDS_TO_END", 0.5)
    stop.put_up(signal.SIGTERM)
    before = time.monotonic()
    assert run("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)", stop) in (-9, -15)
    assert time.monotonic() - before < 20


def test_told_twice_it_is_killed_at_once(stop):
    stop.put_up(signal.SIGINT)
    assert stop.number() == signal.SIGINT
    assert not stop.is_urgent()
    stop.put_up(signal.SIGINT)
    assert stop.is_urgent()
    assert run("import time; time.sleep(60)", stop) < 0


def test_on_another_machine_no_sign_is_seen(tmp_path):
    nowhere = StopSign(str(tmp_path / "not there"))
    nowhere.put_up(signal.SIGTERM)
    assert nowhere.number() is None
