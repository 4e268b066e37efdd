"""A process whose partner has died ends too, even while it waits in an operation that looks at nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest
from two_ranks import ROOT

PARENT = """
import subprocess, sys, time
from src.runtime.ranks.watch import watch_children
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
watch_children([child], timeout_s=0.5)
print(child.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""
CHILD = """
import os, time
from src.runtime.ranks.watch import watch_parent
watch_parent(os.getppid(), 0.5)
time.sleep(60)
"""


def start(child: str, seconds: float) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-c", PARENT, child, str(seconds)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes)
    return process, int(process.stdout.readline())


def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="it looks into /proc")
class TestWatch:
    def test_rank_0_ends_when_another_has_failed(self):
        process, child = start("import time; time.sleep(60)", 60)
        os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "error: rank 1 has ended with exit code -9, so this run ends" in errors

    def test_a_further_rank_ends_when_rank_0_is_no_more(self):
        process, child = start(CHILD, 60)
        time.sleep(1)  # for the child to begin watching
        process.kill()
        process.communicate()
        assert gone(child)

    def test_rank_0_leaves_none_behind(self):
        process, child = start("import time; time.sleep(60)", 0)
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert gone(child, 1)

    def test_a_rank_that_ends_well_ends_no_other(self):
        process, _ = start("pass", 2)
        assert process.communicate(timeout=20)[1] == ""
        assert process.returncode == 0
