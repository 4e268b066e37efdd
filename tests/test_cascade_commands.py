"""Cascades as the commands make them: of networks that train.py has trained, tested live, killed and resumed."""

import os
import signal
import time

import pytest

from tests.always.methods import TINY
from tests.always.processes import (
    ONE_DEVICE,
    TWO_RANKS,
    architecture,
    completed,
    finished,
    kill,
    rows,
    same_results,
    start,
    wait_for,
)

DATA = [word for word in TINY if word.startswith(("data.", "trainer.", "logger", "export"))]
TABLES = ("candidates.csv", "comparison.csv", "front_test.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[str]:
    """Run folders of three small networks on digits, with one split."""
    folders = []
    for number, channels in enumerate((4, 8, 14)):
        folder = tmp_path_factory.mktemp("trained") / f"net{channels}"
        model = [f"+model.channels=[{channels},{channels + 4}]" if "channels" in w else w for w in TINY if "model" in w]
        seeds = (f"seed={number}", "data.seed=0", "epochs=3")
        completed(["train.py", *DATA, *model, *seeds, *ONE_DEVICE, f"hydra.run.dir={folder}"])
        folders.append(str(folder))
    return folders


def searched(members: list[str], *more: str) -> list[str]:
    return ["search.py", "method=encas", f"method.members=[{','.join(members)}]", *DATA[-3:], "method.slots=3", *more]


@pytest.mark.slow
def test_a_cascade_of_trained_networks_is_what_the_search_said(trained, tmp_path):
    """Searched on stored outputs, tested by train.py as networks of the same errors and MACs: the found, and others."""
    folder, live = tmp_path / "cascade", tmp_path / "live"
    output = completed(searched(trained, *ONE_DEVICE, "method.searcher=exact", "seed=5", f"hydra.run.dir={folder}"))
    assert "hypervolume" in output
    found = rows(folder / "comparison.csv")[-1]
    completed(
        ["train.py", f"architecture={folder}", "test_only=true", *DATA[-3:], *ONE_DEVICE, f"hydra.run.dir={live}"]
    )
    (tested,) = rows(live / "comparison.csv")
    for key in ("val_error", "test_error", "macs"):
        assert float(tested[key]) == pytest.approx(float(found[key]), rel=1e-5)
    front = sorted(rows(folder / "front_test.csv"), key=lambda row: row["members"].count(","))
    for line in (front[0], front[-1]):  # of one member, and of several
        given = [f"architecture={folder}/front/candidate_{line['id']}.yaml", "test_only=true", *DATA[-3:], *ONE_DEVICE]
        completed(["train.py", *given, f"hydra.run.dir={tmp_path / line['id']}"])
        (tested,) = rows(tmp_path / line["id"] / "comparison.csv")
        for key, named in {"val_error": "val_error", "test_error": "test_error", "macs": "test_macs"}.items():
            assert float(tested[key]) == pytest.approx(float(line[named]), rel=1e-5)
    config = architecture(folder)
    assert config["_target_"] == "src.networks.cascade.Cascade"
    assert len(config["thresholds"]) == len(config["members"]) - 1
    # a cascade is a member like any other
    other = f"{folder}/front/candidate_{front[-1]['id']}.yaml"
    completed(searched([trained[0], str(folder), other], *ONE_DEVICE, f"hydra.run.dir={tmp_path / 'again'}"))
    assert (tmp_path / "again" / "architecture.yaml").is_file()


@pytest.mark.slow
def test_networks_of_another_split_are_refused(trained, tmp_path):
    other = tmp_path / "other"
    model = [word for word in TINY if "model" in word]
    completed(["train.py", *DATA, *model, "seed=1", "epochs=1", *ONE_DEVICE, f"hydra.run.dir={other}"])
    code, _, errors = finished(start(searched([trained[0], str(other)], *ONE_DEVICE)))
    assert code == 2
    assert errors.startswith("error: member other was trained with data.seed=1 and net4 with data.seed=0")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("devices", [ONE_DEVICE, TWO_RANKS], ids=["one process", "two ranks"])
def test_a_search_that_is_stopped_goes_on(trained, devices, number, tmp_path):
    """Outputs that are stored stay as they are; after a SIGTERM what was evaluated is not evaluated again."""
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    beats = ["+callbacks.beats._target_=tests.always.witness.Beats", f"+callbacks.beats.path={tmp_path / 'beats'}"]
    settings = [*devices, "method.searcher=random", "method.levels=256", "method.evaluations=150000", *beats]
    completed(searched(trained, *settings, f"hydra.run.dir={whole}"))
    (tmp_path / "beats").unlink(missing_ok=True)
    process = start(searched(trained, *settings, f"hydra.run.dir={folder}"))
    wait_for(lambda: (tmp_path / "beats").is_file() and int((tmp_path / "beats").read_text() or 0) > 0, process)
    kill(process, number)
    code, _, errors = finished(process)
    assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert "Traceback" not in errors
    assert not (folder / "candidates.csv").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file() == (number == signal.SIGTERM)
    outputs = folder / "pool" / "validation" / "labels.npy"
    before = os.stat(outputs).st_mtime_ns
    completed(["search.py", f"resume={folder}"])
    assert os.stat(outputs).st_mtime_ns == before
    assert same_results(whole, folder, TABLES)


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_stores_outputs_goes_on(trained, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    settings = [*ONE_DEVICE, "method.searcher=exact"]
    completed(searched(trained, *settings, f"hydra.run.dir={whole}"))
    process = start(searched(trained, *settings, f"hydra.run.dir={folder}"))
    index = folder / "pool" / "validation" / "pool.json"
    wait_for(lambda: index.is_file() and '"finished": true' in index.read_text(), process)
    kill(process)
    finished(process)
    time.sleep(0.1)
    completed(["search.py", f"resume={folder}"])
    assert same_results(whole, folder, TABLES)
