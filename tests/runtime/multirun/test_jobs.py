"""How the command line of a job is made."""

from pathlib import Path

import pytest

from src.errors import UserError
from src.runtime.multirun.jobs import check_same_job, job_command
from src.runtime.multirun.plan import SweepPlan
from src.runtime.multirun.record import JobRecord

PLAN = SweepPlan("/s", options=("--config-name=train",), task=("seed=1,2",), hydra=("hydra/launcher=joblib",))


def test_a_job_is_a_single_run_in_its_folder():
    command = job_command(["python", "x.py"], PLAN, JobRecord(7, ("seed=2",)), Path("/s/it's 7"))
    assert command[:4] == ["python", "x.py", "--config-name=train", "seed=2"]
    assert command[4:6] == ["hydra/launcher=joblib", "hydra.mode=RUN"]
    assert r"hydra.run.dir='/s/it\'s 7'" in command
    assert "hydra.job.num=7" in command


def test_a_begun_job_is_told_nothing_but_to_go_on():
    """What else it was told is in its folder; told again, it could differ."""
    command = job_command(["python", "x.py"], PLAN, JobRecord(7, ("seed=2",)), Path("/s/7"), begun=True)
    assert [word for word in command[2:] if not word.startswith("hydra.")] == ["--config-name=train", "resume='/s/7'"]


def test_a_folder_with_another_job_is_named_with_both():
    record = JobRecord(0, ("seed=1",))
    check_same_job(record, ["seed=1"], Path("/s/0"))
    with pytest.raises(UserError, match="/s/0 holds job 1 with 'seed=1', and the multirun has 'seed=2' there now"):
        check_same_job(record, ["seed=2"], Path("/s/0"))
