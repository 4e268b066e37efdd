"""What is read off a multirun's command line before its first job."""

import importlib.util
from pathlib import Path

import pytest

from src.errors import UserError
from src.runtime.command_line import check_command_line
from src.runtime.multirun.plan import own_process_needed
from tests.runtime.multirun.sweep_tree import write_sweep_tree

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Gives a function from a command line to its plan."""
    config = write_sweep_tree(tmp_path / "tree").parent / "conf"
    monkeypatch.chdir(tmp_path)

    def planned(*arguments):
        monkeypatch.setattr("sys.argv", ["command.py", *arguments])
        return check_command_line(str(config), "search").sweep

    return planned


@pytest.mark.parametrize(
    ("environment", "needed"),
    [
        ({}, True),
        ({"SLURM_NTASKS": "1"}, True),
        ({"SLURM_NTASKS": ""}, True),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2"}, False),  # each of the four would start a job of its own
    ],
)
def test_ranks_that_slurm_has_started_are_the_job(environment, needed):
    assert own_process_needed(environment) is needed


def test_a_single_run_has_none(plan):
    assert plan("seed=1") is None
    assert plan("-m", "--cfg=job") is None


def test_the_jobs_are_those_of_hydras_sweeper(plan, tmp_path):
    """A key of the command line takes the place of the same key in the config."""
    made = plan("sweep=grid", "seed=5", "mode=fine", "hydra.verbose=false", "hydra.mode=MULTIRUN")
    assert made.jobs == tuple((f"delta={delta}", "seed=5", "sweep=grid", "mode=fine") for delta in ("0.1", "0.2"))
    assert (made.count, made.folder) == (2, str(tmp_path / "sweep"))
    assert made.task == ("sweep=grid", "seed=5", "mode=fine")
    assert made.hydra == ("hydra.verbose=false",)
    assert (made.parallel, made.local, made.resumed) == (False, True, False)


def test_a_job_is_shown_by_what_sets_it_apart(plan):
    made = plan("-m", "mode=fine", "seed=1,2", "+hydra.job.env_set.A=1")
    assert made.shown(made.jobs[1]) == "seed=2"
    assert plan("-m", "mode=fine").shown(["mode=fine"]) == "mode=fine"


def test_options_of_the_command_line_go_along(plan, tmp_path):
    (tmp_path / "more").mkdir()
    assert plan("-m", "--config-dir=more", "seed=1,2").options == (f"--config-dir={tmp_path}/more",)


def test_an_interval_is_for_a_sweeper_that_draws_from_it(plan):
    with pytest.raises(UserError, match=r"delta=interval\(0,1\) has no list of values to try: .* hydra/sweeper=optuna"):
        plan("-m", "delta=interval(0,1)")


def test_a_plugin_that_is_not_installed_is_named(plan):
    if importlib.util.find_spec("submitit") is not None:
        pytest.skip("it is installed")
    with pytest.raises(UserError, match="needs a plugin of Hydra: pip install hydra-submitit-launcher"):
        plan("-m", "seed=1,2", "hydra/launcher=submitit_slurm")


def test_jobs_side_by_side_are_known(plan):
    assert plan("-m", "seed=1,2", *JOBLIB).parallel


def test_folders_with_results_and_torchrun_are_refused(plan, tmp_path, monkeypatch):
    (tmp_path / "sweep" / "0" / ".hydra").mkdir(parents=True)
    assert plan("-m", "seed=1,2").count == 2  # begun, but without a result
    (tmp_path / "sweep" / "0" / "comparison.csv").write_text("")
    with pytest.raises(UserError, match=r"sweep holds the jobs of another multirun: give another hydra\.sweep\.dir"):
        plan("-m", "seed=1,2")
    monkeypatch.setenv("ESPALIER_RESUME", "1")
    assert plan("-m", "seed=1,2").resumed
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(UserError, match="without torchrun"):
        plan("-m", "seed=1,2")
    assert not Path("outputs").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None, reason="Hydra's plugin for it is optional"
)
def test_optuna_draws_the_same_trials_again_and_looks_for_small_errors(plan):
    made = plan("sweep=trials", "seed=4")
    assert (made.jobs, made.count, made.swept) == (None, 3, ("delta",))
    assert {"hydra.sweeper.sampler.seed=4", "hydra.sweeper.max_failure_rate=1.0"} < set(made.added)
    made = plan("sweep=trials", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.max_failure_rate=0.0")
    assert not any("sampler" in text or "failure" in text for text in made.added)
    for direction in ("maximize", "[minimize,maximize]", "[minimize,minimize,minimize]"):
        with pytest.raises(UserError, match="must be minimize"):
            plan("sweep=trials", f"hydra.sweeper.direction={direction}")
