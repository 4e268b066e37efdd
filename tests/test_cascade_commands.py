"""Cascades as the commands make them: of networks that train.py has trained, tested live, killed and resumed."""

import os
import signal

import pytest
from failing import run, succeeded

from tests.always.methods import TINY
from tests.always.processes import ONE_DEVICE, TWO_RANKS, architecture, completed, finished, kill, rows, start, wait_for
from tests.cascading import stored

QUIET = [*ONE_DEVICE, *(word for word in TINY if word.startswith(("trainer.", "logger", "export")))]
DATA = [word for word in TINY if word.startswith("data.")]
MODEL = [word for word in TINY if "model" in word]
TABLES = ("candidates.csv", "comparison.csv", "front_test.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[str]:
    """Run folders of three small networks on digits, with one split."""
    folders = []
    for number, channels in enumerate((4, 8, 14)):
        folder = tmp_path_factory.mktemp("trained") / f"net{channels}"
        model = [f"+model.channels=[{channels},{channels + 4}]" if "channels" in word else word for word in MODEL]
        succeeded("train.py", folder, *QUIET, *DATA, *model, f"seed={number}", "data.seed=0", "epochs=3")
        folders.append(str(folder))
    return folders


def searched(members: list[str]) -> list[str]:
    return ["method=encas", f"method.members=[{','.join(members)}]", "method.slots=3", *QUIET]


@pytest.mark.slow
def test_a_cascade_of_trained_networks_is_what_the_search_said(trained, tmp_path):
    """Searched on stored outputs, tested by train.py as networks of the same errors and MACs: the found, and others."""
    folder, live = tmp_path / "cascade", tmp_path / "live"
    assert "hypervolume" in succeeded("search.py", folder, *searched(trained), "method.searcher=exact", "seed=5").out
    found = rows(folder / "comparison.csv")[-1]
    succeeded("train.py", live, *QUIET, f"architecture={folder}", "test_only=true")
    (tested,) = rows(live / "comparison.csv")
    for key in ("val_error", "test_error", "macs"):
        assert float(tested[key]) == pytest.approx(float(found[key]), rel=1e-5)
    front = sorted(rows(folder / "front_test.csv"), key=lambda row: row["members"].count(","))
    for line in (front[0], front[-1]):  # of one member, and of several
        given = [f"architecture={folder}/front/candidate_{line['id']}.yaml", "test_only=true"]
        succeeded("train.py", tmp_path / line["id"], *QUIET, *given)
        (tested,) = rows(tmp_path / line["id"] / "comparison.csv")
        for key, named in {"val_error": "val_error", "test_error": "test_error", "macs": "test_macs"}.items():
            assert float(tested[key]) == pytest.approx(float(line[named]), rel=1e-5)
    config = architecture(folder)
    assert config["_target_"] == "src.networks.cascade.Cascade"
    assert len(config["thresholds"]) == len(config["members"]) - 1
    # a cascade is a member like any other
    other = f"{folder}/front/candidate_{front[-1]['id']}.yaml"
    succeeded("search.py", tmp_path / "again", *searched([trained[0], str(folder), other]))
    assert (tmp_path / "again" / "architecture.yaml").is_file()


@pytest.mark.slow
def test_networks_of_another_split_are_refused(trained, tmp_path):
    other = tmp_path / "other"
    succeeded("train.py", other, *QUIET, *DATA, *MODEL, "seed=1", "epochs=1")
    refused = run("search.py", tmp_path / "run", *searched([trained[0], str(other)]))
    assert refused.code == 2
    assert refused.err.startswith("error: member other was trained with data.seed=1 and net4 with data.seed=0")


@pytest.fixture(scope="module")
def long_search(tmp_path_factory) -> tuple[list[str], dict]:
    """A search of seconds over outputs that no network has to compute, and its tables when nothing stops it."""
    folder = tmp_path_factory.mktemp("long")
    settings = [*searched(stored(folder / "given")), "method.searcher=random", "method.levels=256"]
    settings += ["method.evaluations=150000", "+callbacks.beats._target_=tests.always.witness.Beats"]
    succeeded("search.py", folder / "whole", *settings, f"+callbacks.beats.path={folder / 'beats'}")
    return settings, {name: rows(folder / "whole" / name) for name in TABLES}


def stopped(command: list[str], beats, number: int) -> int:
    """Sends the signal while cascades are searched; returns the exit code."""
    process = start(command)
    wait_for(lambda: beats.is_file() and int(beats.read_text() or 0) > 0, process)
    kill(process, number)
    code, _, errors = finished(process)
    assert "Traceback" not in errors
    return code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "number", "code"),
    [(ONE_DEVICE, signal.SIGKILL, -signal.SIGKILL), (TWO_RANKS, signal.SIGTERM, 143)],
    ids=["one process, SIGKILL", "two ranks, SIGTERM"],
)
def test_a_search_that_is_stopped_goes_on(long_search, devices, number, code, tmp_path):
    """Outputs that are stored stay as they are; after a SIGTERM there is a checkpoint with what was evaluated.

    The kills of tests/always come before and after the search, which is over in no time there.
    """
    settings, whole = long_search
    folder, beats = tmp_path / "stopped", tmp_path / "beats"
    settings = [*settings, f"+callbacks.beats.path={beats}", f"hydra.run.dir={folder}"]
    assert stopped(["search.py", *settings, *devices], beats, number) == code
    assert not (folder / "candidates.csv").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file() == (number == signal.SIGTERM)
    outputs = folder / "pool" / "validation" / "labels.npy"
    before = os.stat(outputs).st_mtime_ns
    completed(["search.py", f"resume={folder}"])
    assert os.stat(outputs).st_mtime_ns == before
    assert {name: rows(folder / name) for name in TABLES} == whole
