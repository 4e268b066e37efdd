"""What `resume=` makes of a command line, and which runs it refuses to mix."""

from pathlib import Path

import pytest
from command_tree import run, write_tree
from omegaconf import OmegaConf

from src.errors import UserError
from src.runtime.multirun.plan import quoted
from src.runtime.resume import check_same_run, resumed_arguments, run_identity


@pytest.fixture
def begun(tmp_path):
    """The folder of a run of the small command tree that had overrides, and the command."""
    command = write_tree(tmp_path)
    done = run(command, "seed=3", "method.trials=6", "hydra.run.dir=my run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "my run", command


def test_the_overrides_of_the_run_come_back_and_new_ones_take_their_place(begun):
    folder, _ = begun
    arguments = resumed_arguments(["mode=fine", f"resume='{folder}'", "seed=3"], "search")
    assert "method.trials=6" in arguments
    assert arguments.count("seed=3") == 1
    assert f"hydra.run.dir='{folder}'" in arguments
    assert resumed_arguments(["seed=1", "resume=null"], "search") == ["seed=1", "resume=null"]


def test_it_runs_in_the_same_folder_with_the_same_settings(begun):
    folder, command = begun
    before = (folder / ".hydra" / "overrides.yaml").read_text()
    done = run(command, f"resume={folder}", folder=folder.parent)
    assert done.returncode == 0, done.stderr
    assert "ran conet-3" in done.stdout
    assert (folder / ".hydra" / "overrides.yaml").read_text() == before


def test_another_setting_is_refused_and_another_device_is_not(begun):
    folder, command = begun
    done = run(command, f"resume={folder}", "method.delta=0.2", folder=folder.parent)
    assert done.returncode == 2
    assert "a resumed run keeps its settings: method.delta was 0.1 and would be 0.2" in done.stderr
    assert run(command, f"resume={folder}", "trainer.devices=4", folder=folder.parent).returncode == 0


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "comparison.csv").write_text(""), "has ended"),
        (lambda folder: (folder / ".hydra" / "config.yaml").unlink(), "it has no .hydra/config.yaml"),
        (lambda folder: (folder / ".hydra" / "hydra.yaml").write_text("a: ["), "is damaged"),
        (lambda folder: (folder / ".hydra" / "hydra.yaml").write_text("b: 1"), "is damaged"),
        (lambda folder: (folder / ".hydra" / "overrides.yaml").write_text("[]"), "method.trials was 6 and would be 5"),
    ],
)
def test_a_folder_that_cannot_go_on_is_named(begun, break_it, message):
    folder, command = begun
    break_it(folder)
    done = run(command, f"resume={folder}", folder=folder.parent)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there_is_answered_with_the_nearest_and_another_command_with_the_right_one(begun):
    folder, _ = begun
    with pytest.raises(UserError, match="did you mean 'my run'"):
        resumed_arguments([f"resume={folder.parent / 'my rum'}"], "search")
    with pytest.raises(UserError, match=r"was of search\.py"):
        resumed_arguments([f"resume={folder}"], "train")


@pytest.mark.parametrize("name", ["e=q", "com,ma", "sp ace (1)", "~wav[1]{}", "qu'ote", "dol$x", "back\\\\slash"])
def test_a_folder_of_any_name_goes_on(name, tmp_path):
    """The path is taken as it is: Hydra would read some of these as lists, sweeps or interpolations."""
    command = write_tree(tmp_path)
    folder = tmp_path / name
    done = run(command, f"hydra.run.dir={quoted(folder)}", "seed=3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for given in (f"resume={name}", f"resume={quoted(folder)}"):
        done = run(command, given, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "ran conet-3" in done.stdout


def test_from_another_folder_the_users_own_package_is_found_where_the_run_was_begun(tmp_path):
    """Otherwise a search of a network of one's own would only go on from the folder that holds it."""
    command = write_tree(tmp_path)
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(), elsewhere.mkdir()
    (home / "my_package.py").write_text("GREETING = 'good day'")
    assert "good day" in run(command, "mode=own", "hydra.run.dir=run", folder=home).stdout
    done = run(Path("..") / command.name, "resume=../home/run", folder=elsewhere)
    assert "good day" in done.stdout, done.stderr


def test_options_may_stand_anywhere_but_a_run_is_no_multirun(begun):
    folder, command = begun
    done = run(command, f"resume={folder}", "--cfg", "job", folder=folder.parent)
    assert "seed: 3" in done.stdout
    done = run(command, "-m", f"resume={folder}", folder=folder.parent)
    assert done.returncode == 2
    assert "leaves no room for --multirun" in done.stderr
    done = run(command, "resume=", folder=folder.parent)
    assert "resume= has no value" in done.stderr
    done = run(command, f"resume={folder}/.hydra/config.yaml", folder=folder.parent)
    assert "it is a file; give the run folder" in done.stderr


def test_a_run_is_known_by_its_settings_and_not_by_its_devices(tmp_path):
    config = OmegaConf.create({"seed": 1, "trainer": {"devices": 1, "precision": "32-true"}, "data": {"root": "a"}})
    moved = OmegaConf.merge(config, {"trainer": {"devices": 2}, "data": {"root": "b"}, "resume": "x"})
    other = OmegaConf.merge(config, {"trainer": {"precision": "bf16-mixed"}})
    assert run_identity(config) == run_identity(moved) != run_identity(other)
    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(config, tmp_path / ".hydra" / "config.yaml")
    check_same_run(moved, tmp_path)
    with pytest.raises(UserError, match=r"trainer.precision was '32-true' and would be 'bf16-mixed'"):
        check_same_run(other, tmp_path)
