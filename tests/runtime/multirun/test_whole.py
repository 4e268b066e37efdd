"""Multiruns as a user sees them: real processes, because what one job leaves to the next is the point."""

import contextlib
import csv
import importlib.util
import os
import signal
import subprocess
import sys

import pytest
import yaml

from src.errors import UserError
from src.runtime.multirun.plan import SweepPlan, quoted
from src.runtime.multirun.whole import is_multirun, multirun_arguments, write_command
from tests.runtime.command_tree import REPOSITORY, run
from tests.runtime.multirun.sweep_tree import end, left_of, start, wait_for, write_sweep_tree

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
NAME = "it's a sweep"  # a path that has to be quoted
WITHOUT_OPTUNA = importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    return write_sweep_tree(tmp_path_factory.mktemp("tree"))


def overrides(job):
    return yaml.safe_load((job / ".hydra/overrides.yaml").read_text())


def ran(job):
    return (job / "ran.txt").read_text().split()


@pytest.fixture(scope="module")
def grid(command, tmp_path_factory):
    """A multirun of four jobs, asked for by a config alone: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("grid")
    done = run(command, "sweep=grid", f"hydra.sweep.dir={quoted(NAME)}", folder=folder, HYDRA_FULL_ERROR="1")
    assert done.returncode == 0, done.stderr
    return folder / NAME, done


def test_each_job_runs_its_own_config_once_in_its_own_folder(grid):
    """Also where a config file says `mode: MULTIRUN` and what to sweep, to the jobs as well."""
    folder, done = grid
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["0", "1", "2", "3"]
    for number, (delta, seed) in enumerate([("0.1", "1"), ("0.1", "2"), ("0.2", "1"), ("0.2", "2")]):
        job = folder / str(number)
        assert overrides(job) == [f"delta={delta}", f"seed={seed}", "sweep=grid"]
        config = yaml.safe_load((job / ".hydra/config.yaml").read_text())
        assert (config["delta"], config["seed"]) == (float(delta), int(seed))
        hydra = yaml.safe_load((job / ".hydra/hydra.yaml").read_text())["hydra"]
        assert (hydra["mode"], hydra["job"]["num"], hydra["run"]["dir"]) == ("RUN", number, str(job))
        # seed, delta, number, W&B group; a fresh process, with the user's own wish for traces
        assert (job / "ran.txt").read_text() == f"{seed} {delta} {number} {NAME} False True False\n"
        assert f"job {number + 1} of 4: delta={delta} seed={seed}\nrunning\n" in done.stdout
        assert sorted(path.name for path in job.iterdir()) == [".hydra", "command.log", "comparison.csv", "ran.txt"]


def test_the_jobs_are_compared_at_the_end(grid):
    folder, done = grid
    rows = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [(row["delta"], row["finished"], row["folders"]) for row in rows] == [
        ("0.1", "2", '["0", "1"]'),
        ("0.2", "2", '["2", "3"]'),
    ]
    # three trainings a job, the middle one at 1 + seed + 10 |delta - 0.2|
    assert [float(row["found_val_error_mean"]) for row in rows] == pytest.approx([3.5, 2.5])
    assert [float(row["found_val_error_std"]) for row in rows] == pytest.approx([0.5**0.5] * 2)
    assert "(± 0.71)" in done.stdout
    assert done.stdout.endswith(f"multirun folder: {folder}\n")


def test_a_second_multirun_is_not_mixed_into_the_folder_of_the_first(grid, command):
    done = run(command, "-m", "seed=1,2", f"hydra.sweep.dir={quoted(NAME)}", folder=grid[0].parent)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the folder {grid[0]} holds the jobs of another multirun")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_failing_jobs_stop_no_other_and_are_named(command, tmp_path, launcher):
    done = run(command, "-m", "mode=user1,crash,fine", "seed=1,2", *launcher, folder=tmp_path)
    assert done.returncode == 1  # a crash is no mistake of the user
    failed = [f"job {number + 1} ({tmp_path}/sweep/{number})" for number in (0, 2, 3)]
    assert done.stderr.splitlines()[-1] == f"error: 3 of 6 jobs failed: {', '.join(failed)}"
    prefix = "[job 1] " if launcher else ""
    assert f"{prefix}error: no such thing\n" in done.stderr
    assert "error: job 3 was killed by SIGKILL\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert [ran(tmp_path / "sweep" / str(number))[0] for number in range(6)] == ["1", "2"] * 3
    assert "without a result: 0 (failed), 2 (failed), 3 (failed)" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep"]


def test_ranks_of_slurm_run_the_job_themselves(command, tmp_path):
    """With a process each, every rank would start the job's ranks again."""
    done = run(command, "-m", "mode=user,fine", folder=tmp_path, SLURM_NTASKS="2", SLURM_PROCID="0")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "error: job 1: no such thing\n" in done.stderr
    assert done.stdout.startswith("running\nrunning\n")  # and nothing of processes
    assert overrides(tmp_path / "sweep" / "1") == ["mode=fine"]
    assert ran(tmp_path / "sweep" / "1") == ["0", "0.1", "1", "sweep", "False", "False", "False"]


def test_mistakes_of_the_user_alone_end_with_their_code(command, tmp_path):
    done = run(command, "-m", "mode=user,fine", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: no such thing"


@pytest.mark.parametrize(
    ("launcher", "number", "mode"), [((), signal.SIGTERM, "terminated"), (JOBLIB, signal.SIGINT, "wait")]
)
def test_a_signal_reaches_the_jobs_which_may_save_and_a_resume_runs_what_is_missing(
    command, tmp_path, launcher, number, mode
):
    """Lost otherwise: the work of the running job, or of all that were done before."""
    ready = {"terminated": "ready.txt", "wait": "ran.txt"}[mode]
    process = start(command, "-m", f"mode=fine,{mode}", "seed=1,2", *launcher, folder=tmp_path)
    try:
        running = tmp_path / "sweep" / "2" / ready
        wait_for(lambda: running.exists() and (not launcher or (tmp_path / "sweep" / "3" / ready).exists()))
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # Ctrl-C reaches the whole group
        _, err = process.communicate(timeout=30)
    finally:
        end(process)
    assert process.returncode == 128 + number
    assert f"2 of 4 jobs are done; resume={tmp_path}/sweep runs the others\n" in err
    assert "Traceback" not in err
    assert (running.parent / "saved.txt").exists()
    assert left_of(tmp_path) == []

    done = run(command, f"resume={tmp_path}/sweep", folder=tmp_path, QUICK="1")
    assert done.returncode == 0, done.stderr
    begun = [False, False, True, bool(launcher)]  # of the jobs that are not done, by the number that runs at once
    continued = [ran(tmp_path / "sweep" / str(job))[6::7] for job in range(4)]
    assert continued == [["False", "True"] if both else ["False"] for both in begun]
    assert all(f"job {number} of 4: done before\n" in done.stdout for number in (1, 2))
    assert len(list(csv.DictReader((tmp_path / "sweep" / "comparison.csv").open()))) == 2


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="the kernel has to tell a process that its parent has died")
def test_nothing_runs_on_when_the_multirun_is_killed(command, tmp_path, launcher):
    process = start(command, "-m", "mode=terminated", "seed=1,2", *launcher, folder=tmp_path)
    try:
        wait_for((tmp_path / "sweep" / "0" / "ready.txt").exists)
        process.kill()
        wait_for((tmp_path / "sweep" / "0" / "saved.txt").exists)
        wait_for(lambda: not left_of(tmp_path))
    finally:
        end(process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_resumed_multirun_with_other_jobs_is_refused_before_any_runs(command, tmp_path):
    """Half of the old settings and half of the new ones would be compared as if they were one multirun."""
    run(command, "-m", "seed=1,2", folder=tmp_path)
    done = run(command, "-m", "seed=3,2", folder=tmp_path, ESPALIER_RESUME="1")
    assert done.returncode == 2
    told = f"error: {tmp_path}/sweep/0 holds job 1 with 'seed=1', and the multirun has 'seed=3' there now"
    assert done.stderr.startswith(told)
    assert len(ran(tmp_path / "sweep" / "1")) == 7  # once


@pytest.mark.skipif(WITHOUT_OPTUNA, reason="Hydra's plugin for Optuna is optional")
def test_optuna_learns_what_jobs_are_worth_outlives_a_failure_and_is_resumed_as_it_was(command, tmp_path):
    arguments = ("sweep=trials", "mode=trial1", *JOBLIB, "hydra.sweeper.n_jobs=2", "hydra.sweep.dir=sweep")
    path = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    done = run(command, *arguments, folder=tmp_path, **path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    best = yaml.safe_load((tmp_path / "sweep/optimization_results.yaml").read_text())
    deltas = [float(ran(tmp_path / "sweep" / str(job))[1]) for job in range(3)]
    wanted = {delta: 10 * abs(delta - 0.2) + 1 for delta in (deltas[0], deltas[2])}
    assert best["best_value"] == pytest.approx(min(wanted.values()))
    again = run(command, "resume=sweep", folder=tmp_path, **path)
    assert again.stdout.count("done before") == 2
    assert len(ran(tmp_path / "sweep" / "2")) == 7


def test_the_process_that_waits_for_jobs_is_light():
    """With torch in it, it would hold memory, and a GPU, beside every job."""
    code = "import src.runtime.launch, src.runtime.multirun.whole, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_the_command_of_a_multirun_comes_back_from_its_folder(tmp_path):
    plan = SweepPlan(str(tmp_path / "a b"), ("--config-dir=/x",), ("seed=1,2", "name='a, b'"), ("hydra/launcher=x",))
    assert not is_multirun(tmp_path / "a b")
    write_command(plan, "search")
    assert is_multirun(tmp_path / "a b")
    assert multirun_arguments(tmp_path / "a b", "search") == [
        *("--config-dir=/x", "-m", "seed=1,2", "name='a, b'", "hydra/launcher=x"),
        f"hydra.sweep.dir='{tmp_path}/a b'",
    ]


@pytest.mark.parametrize("text", ["", "options: []\n", "options: []\ntask: [1]\nhydra: []\n", "task: [", "- a"])
def test_a_damaged_command_is_a_sentence(tmp_path, text):
    (tmp_path / "multirun_command.yaml").write_text(text)
    with pytest.raises(UserError, match=r"multirun_command\.yaml is damaged"):
        multirun_arguments(tmp_path, "search")
