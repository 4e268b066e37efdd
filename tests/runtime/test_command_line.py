"""Each mistake that a command line can hold, and the sentence that answers it."""

import os

import pytest
from command_tree import write_tree

from src.errors import UserError
from src.runtime.command_line import check_command_line, check_folder


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    return str(write_tree(tmp_path_factory.mktemp("tree")).parent / "conf")


@pytest.fixture
def check(config_path, monkeypatch, tmp_path):
    """Checks a command line against the tree, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def checked(*arguments, **options):
        monkeypatch.setattr("sys.argv", ["search.py", *arguments])
        check_command_line(config_path, "search", **options)
        assert not os.listdir(tmp_path)

    return checked


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=resnet32", "method=random", "method.budget=3"],
        ["+experiment=seven"],
        ["+model.bias=false"],
        ["+hydra.job.env_set.A=1"],
        ["++seed=3"],
        ["~model.in_features"],
        ["-m", "seed=1,2", "model=resnet20,resnet32"],
        ["--multirun", "seed=range(0,100)"],
        ["+sweep=seeds"],
        ["hydra.run.dir=outputs/${hydra:runtime.choices.model}", "name=${hydra:runtime.output_dir}"],
        ["--config-name", "search", "--cfg", "job"],
        ["method.retrain={epochs: 4}"],
    ],
)
def test_good_command_lines_pass(check, arguments):
    check(*arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["method.dleta=1"], "no key 'method.dleta'; did you mean 'method.delta'"),
        (["epochs=1"], "no key 'epochs'; did you mean 'method.retrain.epochs'"),
        (["dlta=1"], "no key 'dlta'; did you mean 'method.delta'"),
        (["method=random", "method.delta=1"], "no key 'method.delta'; allowed: method.name, method.budget"),
        (["hydra.rnu.dir=x"], "no key 'hydra.rnu.dir'; did you mean 'hydra.run.dir'"),
        (["~method.trials"], "~method.trials takes out what every run reads"),
        (["~seed"], "~seed takes out what every run reads"),
        (["~method.dleta"], "no key 'method.dleta'; did you mean 'method.delta'"),
        (["modle=resnet20"], "no key 'modle'; did you mean 'model' or 'mode'"),
        (["model=resnet200"], "model=resnet200 is not known; did you mean 'resnet20' or 'resnet32'?"),
        (["method=xx"], "method=xx is not known; allowed: conet, random"),
        (["+experiment=sevn"], "experiment=sevn is not known; did you mean 'seven'"),
        (["experiment=seven"], "'experiment' is no part of this config yet: add it as +experiment=... (allowed: se"),
        (["+modle=x"], "+modle=x: nothing reads a new key 'modle'; did you mean 'model' or 'mode'"),
        (["++seeed=1"], "++seeed=1: nothing reads a new key 'seeed'; did you mean 'seed'"),
        (["+optimizer.lr=1"], "nothing reads a new key 'optimizer.lr'"),
        (["+seed=3"], "'seed' is there already: give it without the plus"),
        (["resnet20"], "'resnet20' is not a setting: write it as key=value"),
        (["seed=[1"], "'seed=[1' cannot be read as key=value"),
        (["--epochs", "3"], "unrecognized arguments: --epochs"),
        (["seed=1,2"], "seed=1,2 is several values: add --multirun"),
        (["-m", "sed=1,2"], "no key 'sed'; did you mean 'seed'"),
        (["+sweep=typo"], "no key 'sed'"),
        (["hydra.run.dir=${nope}"], "Interpolation key 'nope' not found"),
        (["model=unfinished"], "model.width has no value: give it as model.width="),
        (["name=${nope}"], "name: Interpolation key 'nope' not found"),
        (["hydra.run=5"], "hydra.run=5"),
        (["model=broken"], "broken.yaml, line 2: expected"),
        (["--config-name", "serach"], "there is no config 'serach'; did you mean 'search'"),
        (["--config-dir", "nowhere"], "--config-dir nowhere is not a folder"),
    ],
)
def test_mistakes_are_answered_with_the_nearest(check, arguments, told):
    with pytest.raises(UserError) as caught:
        check(*arguments)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_the_task_fills_in_may_be_missing(check):
    check("model=unfinished", "name=${model.width}", filled_later=["model.width"])


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=f"permission denied in {tmp_path}$"):
        check_folder(str(tmp_path / "a" / "b"))
