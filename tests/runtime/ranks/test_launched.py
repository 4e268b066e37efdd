"""Processes that SLURM or torchrun has started agree on one run folder."""

import os
import subprocess
import sys

import pytest
from two_ranks import ROOT

from src.runtime.ranks.launched import launched_rank


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, None),
        ({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}, 1),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "x"}, 1),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "x"}, None),  # a job of one process
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, None),  # a shell in an allocation
    ],
)
def test_it_knows_who_has_started_it(environment, rank, monkeypatch):
    for name in ("RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == rank


def test_all_tasks_of_slurm_take_the_folder_of_the_first():
    """Each composes its own config, with the time of day in the name of the folder."""
    script = "import sys; from src.runtime.ranks.launched import folder_of_rank_0 as f; print(f(sys.argv[1]))"
    tasks = []
    for rank in ("1", "0"):  # in any order
        slurm = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": rank}
        slurm |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": "x"}
        command = [sys.executable, "-c", script, f"folder-of-{rank}"]
        environment = {**os.environ, **slurm}
        tasks.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    assert [task.communicate(timeout=100)[0].strip() for task in tasks] == ["folder-of-0"] * 2
