"""An experiment in stages: one command, whose jobs find what the earlier ones have left."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from src.errors import UserError
from src.runtime.command_line import check_command_line
from src.runtime.launch import CONFIG_FOLDER

STAGES = {
    "nat_encas_cifar10": ["nat_a", "nat_b", "cascades", "joint", "joint_plus"],
    "nat_encas_digits": ["digits/nat_a", "digits/nat_b", "cascades", "digits/joint", "joint_plus"],
}


def planned(monkeypatch, tmp_path, *arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["search.py", *arguments])
    return check_command_line(str(CONFIG_FOLDER), "search").sweep


def job(experiment, stage):
    """The config of a job, and the folder in that of the multirun that it has."""
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("search", [f"experiment={experiment}", f"stage={stage}", "seed=3"], return_hydra_config=True)
    subdir = config.hydra.sweep.subdir
    with open_dict(config):
        config.hydra.runtime.output_dir = f"/sweep/{subdir}"
    HydraConfig.instance().set_config(config)
    return config, subdir


@pytest.fixture(autouse=True)
def _forget():
    yield
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize("experiment", STAGES)
def test_the_stages_are_the_jobs_in_their_order_each_in_its_folder(experiment, monkeypatch, tmp_path):
    plan = planned(monkeypatch, tmp_path, "-m", f"experiment={experiment}")
    stages = [one.partition("=")[2] for told in plan.jobs for one in told if one.startswith("stage=")]
    assert stages == STAGES[experiment]
    jobs = [job(experiment, stage) for stage in stages]
    assert [folder for _, folder in jobs] == [f"seed_3/{stage.rpartition('/')[2]}" for stage in stages]
    methods = [config.method.name for config, _ in jobs]
    assert methods == ["nat", "nat", "encas", "encas_joint", "encas"]
    assert len({config.data.name for config, _ in jobs}) == 1
    assert jobs[0][0].model != jobs[1][0].model
    assert [jobs[3][0].method.supernets[name] for name in "ab"] == [config.model for config, _ in jobs[:2]]


def test_a_stage_names_the_folders_of_the_earlier_ones():
    for stage, expected in (("cascades", ["nat_a/front", "nat_b/front"]), ("joint_plus", ["joint/subnets"])):
        config, folder = job("nat_encas_digits", stage)
        assert list(config.method.members) == [f"/sweep/{folder}/../{name}" for name in expected]


def test_jobs_that_would_not_wait_for_each_other_are_refused(monkeypatch, tmp_path):
    """Two at a time, the cascades would find no networks."""
    with pytest.raises(UserError, match=r"JoblibLauncher.* may start several jobs at once"):
        planned(monkeypatch, tmp_path, "-m", "experiment=nat_encas_digits", "hydra/launcher=joblib")


def test_without_m_the_stage_is_asked_for(monkeypatch, tmp_path):
    """Else the default method would run."""
    with pytest.raises(UserError, match=r"several stages, .*: add -m, or give one by stage="):
        planned(monkeypatch, tmp_path, "experiment=nat_encas_digits")
