"""A second process in the same run folder is refused as long as the first is alive, and no longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import UserError
from src.runtime.run_lock import lock_run_folder

HOLDER = """
import sys, time
from src.runtime.run_lock import lock_run_folder
lock_run_folder(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def test_a_folder_is_locked_by_one_process_until_its_death(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"another process is at work in {tmp_path}"):
            lock_run_folder(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    lock_run_folder(tmp_path)
