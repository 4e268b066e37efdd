"""Loggers write where a run folder keeps its metrics, and W&B can never end a run or speak on the console."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from omegaconf import OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from src.errors import UserError
from src.runtime import loggers as module
from src.runtime.loggers import close, make_loggers
from src.runtime.metrics_file import MetricsFile

REPOSITORY = Path(__file__).resolve().parents[2]


def test_none_makes_none(tmp_path):
    assert make_loggers({"csv": False, "wandb": False}, tmp_path, "run") == []
    assert make_loggers(None, tmp_path, "run") == []


def test_wandb_that_is_switched_off_is_not_even_made(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    made = make_loggers({"csv": True, "tensorboard": True, "wandb": True}, tmp_path, "run")
    assert [type(logger) for logger in made] == [MetricsFile, TensorBoardLogger]


def test_each_logger_writes_into_its_own_place_of_the_run_folder(tmp_path):
    made = make_loggers({"csv": True, "tensorboard": True}, tmp_path, "run")
    for logger in made:
        logger.log_metrics({"error": 1.0}, step=1)
    close(made)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["metrics.csv", "tensorboard"]
    assert any(entry.name.startswith("events") for entry in (tmp_path / "tensorboard").iterdir())


SCRIPT = """
import sys
from omegaconf import OmegaConf
from src.runtime.loggers import close, make_loggers
made = make_loggers({"wandb": True, "tags": ["a"]}, sys.argv[1], "run", OmegaConf.create({"seed": 7}))
made[0].log_metrics({"error": 1.0}, step=1)
print(made[0].experiment.config["seed"], made[0].experiment.settings.mode, file=open(sys.argv[1] + "/seen", "w"))
close(made)
"""


def test_without_a_key_wandb_writes_offline_and_says_nothing(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment = {**kept, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "seen").read_text() == "7 offline\n"
    assert len(list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))) == 1


def test_a_key_in_the_netrc_file_means_online(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert module._mode(None) == "offline"
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {'0' * 40}\n")
    assert module._mode(None) == "online"
    assert module._mode("offline") == "offline"


def test_where_wandb_cannot_be_reached_it_writes_offline_after_one_warning(tmp_path, monkeypatch, caplog):
    start = wandb.init

    def init(**options):
        if options["mode"] == "online":
            raise wandb.errors.CommError("no such host\nconsider this and that")
        return start(**options)

    monkeypatch.setattr(wandb, "init", init)
    with caplog.at_level(logging.WARNING):
        made = make_loggers({"wandb": True, "mode": "online"}, tmp_path, "run")
    assert made[0].experiment.settings.mode == "offline"
    close(made)
    assert [record.message for record in caplog.records if record.name == module.log.name] == [
        "W&B writes offline, because it cannot be reached: no such host consider this and that"
    ]


def test_a_second_process_continues_the_wandb_run_of_its_folder(tmp_path):
    names = []
    for _ in range(2):
        made = make_loggers({"wandb": True, "mode": "offline"}, tmp_path, "run")
        assert isinstance(made[0], WandbLogger)
        names.append(made[0].experiment.id)
        close(made)
    assert names[0] == names[1] == (tmp_path / "wandb" / "run_id.txt").read_text().strip()


def test_wandb_that_fails_altogether_costs_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*args):
        raise OSError("no space")

    monkeypatch.setattr(module, "_started", refuse)
    with caplog.at_level(logging.WARNING):
        made = make_loggers({"csv": True, "wandb": True, "mode": "online"}, tmp_path, "run")
    assert [type(logger) for logger in made] == [MetricsFile]
    assert [record.message for record in caplog.records] == [
        "W&B writes offline, because it cannot be reached: no space",
        "W&B is left out of this run: no space",
    ]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"wandbb": True}, "no option 'wandbb'; did you mean 'wandb'"),
        ({"csv": "yes"}, "logger.csv='yes' is not allowed; it must be true or false"),
        ({"wandb": True, "mode": "onlin"}, "logger.mode='onlin' is not known; did you mean 'online'"),
    ],
)
def test_mistakes_are_refused(tmp_path, config, told):
    with pytest.raises(UserError, match=told):
        make_loggers(config, tmp_path, "run")


@pytest.mark.parametrize(("name", "made"), [("all", 3), ("csv", 1), ("tensorboard", 2), ("wandb", 2), ("none", 0)])
def test_the_presets_ask_for_what_they_are_named_for(composed, name, made):
    options = composed(f"logger={name}").logger
    assert sum([options.csv, options.tensorboard, options.wandb]) == made
    assert options.csv is (name != "none")
    assert OmegaConf.select(options, f"{name}") in (True, None)
