"""A super-net of one run that is searched by another: as the commands do it."""

import shutil
import signal

import pytest
from failing import run, succeeded
from omegaconf import OmegaConf

from tests.always.methods import METHODS
from tests.always.processes import ONE_DEVICE, completed, finished, kill, lines, start, wait_for

CAFENET = next(method for method in METHODS if method.name == "cafenet")
QUIET = ("trainer.threads=1", "logger=csv", "export.formats=[]", "retrain.epochs=0", *ONE_DEVICE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return succeeded(CAFENET.command[0], folder, *CAFENET.command[1:], *ONE_DEVICE, "retrain.epochs=0").folder


def again(folder, *more: str) -> list[str]:
    bins = [word for word in CAFENET.overrides if "bin" in word or "population" in word]
    return ["method=cafenet", f"method.supernet={folder}", *bins, *QUIET, *more]


@pytest.mark.slow
def test_it_brings_its_model_and_its_split(trained, tmp_path):
    """Another seed would judge widths by images that the super-net was trained on."""
    folder = tmp_path / "run"
    succeeded("search.py", folder, *again(trained, "seed=1", "method.evaluations=4", "method.max_macs=0.5"))
    first, second = (OmegaConf.load(path / ".hydra" / "resolved.yaml") for path in (trained, folder))
    assert second.data == first.data
    assert second.model == first.model
    assert second.seed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("data.seed=1", "trained with data.seed=0, and what is searched must be judged by images that it"),
        ("data=mnist", "was trained on data=digits; leave data out"),
        ("method.supernet=/nowhere", "it is no run folder"),
    ],
)
def test_other_data_is_refused(trained, given, told, tmp_path):
    done = run("search.py", tmp_path / "run", *again(trained, given))
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert told in done.err


@pytest.mark.slow
def test_a_search_of_it_goes_on_when_its_folder_is_gone(trained, tmp_path):
    moved, folder = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(trained, moved)
    process = start(["search.py", *again(moved, "method.evaluations=24", f"hydra.run.dir={folder}")])
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    kill(process, signal.SIGTERM)
    assert finished(process)[0] == 143
    shutil.rmtree(moved)
    completed(["search.py", f"resume={folder}"])
    assert lines(folder / "candidates.csv") == 25
