"""Both commands on real images with several labels each: digits that are even, prime, above 4, or have a loop."""

import csv

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from failing import SHORT, run
from sklearn.datasets import load_digits

from tests.data.sets import write_digit_attributes

METRICS = {"error", "exact_match_error", "mean_average_precision", "loss"}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The data and the task, as words of a command."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    write_digit_attributes(path)
    return ["data=arrays", f"data.path={path}", "task=multilabel"]


@pytest.fixture(scope="module")
def searched(given, tmp_path_factory):
    """A short CONet search with all that a run leaves."""
    folder = tmp_path_factory.mktemp("runs") / "conet"
    options = ["data.limit=480", "retrain.epochs=4", "export.formats=[pt2,onnx]", "logger=csv"]
    return run("search.py", folder, *SHORT, *given, *options, timeout=240)


def test_a_search_leaves_table_report_and_programs(searched):
    assert searched.code == 0, searched.err
    assert "Warning" not in searched.err
    files = {path.name for path in searched.folder.iterdir()}
    assert files >= {"architecture.yaml", "candidates.csv", "report.html", "weights.pt", "model.pt2", "model.onnx"}
    rows = list(csv.DictReader((searched.folder / "comparison.csv").open()))
    assert [row["network"].split()[0] for row in rows] == ["base", "found"]
    logged = (searched.folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {f"val/{name}" for name in METRICS} | {f"found/test/{name}" for name in METRICS} <= set(logged)


def test_the_exported_programs_have_the_test_error_of_the_table(searched):
    """Measured here from the logits of the two files, on the images that `write_digit_attributes` has put aside."""
    path = yaml.safe_load((searched.folder / ".hydra" / "resolved.yaml").read_text())["data"]["path"]
    with np.load(path) as arrays:
        images, labels = arrays["test_x"][:, None] / np.float32(255), arrays["test_y"]
    found = [row for row in csv.DictReader((searched.folder / "comparison.csv").open()) if row["network"] == "found"]
    program = torch.export.load(searched.folder / "model.pt2").module()
    session = onnxruntime.InferenceSession(searched.folder / "model.onnx")
    for logits in (program(torch.from_numpy(images)).detach().numpy(), session.run(None, {"images": images})[0]):
        assert logits.shape == (len(load_digits().target) - 1348, 4)
        assert 100 * ((logits > 0) != labels).mean() == pytest.approx(float(found[0]["test_error"]), abs=0.1)


def test_training_learns_the_labels(given, tmp_path):
    """Always answering what is more common has an error of 45 % here."""
    short = [word for word in SHORT if not word.startswith(("method", "retrain", "data.limit"))]
    done = run("train.py", tmp_path / "train", *short, *given, "epochs=6", timeout=240)
    assert done.code == 0, done.err
    row = next(csv.DictReader((done.folder / "comparison.csv").open()))
    assert float(row["test_error"]) < 15


def test_random_search(given, tmp_path):
    done = run("search.py", tmp_path / "random", *SHORT, *given, "method=random", timeout=240)
    assert done.code == 0, done.err
    errors = [float(row["error"]) for row in csv.DictReader((done.folder / "candidates.csv").open())]
    assert len(errors) == 2
    assert all(0 < error < 60 for error in errors)


@pytest.mark.parametrize("script", ["search.py", "train.py"])
def test_a_task_that_does_not_fit_the_labels_is_refused_before_anything_is_trained(script, given, tmp_path):
    short = [word for word in SHORT if script == "search.py" or not word.startswith(("method", "retrain"))]
    done = run(script, tmp_path / "several", *short, *given[:2])
    assert done.code == 2
    assert done.err.strip().endswith("error: data arrays has several labels an image: give task=multilabel")
    done = run(script, tmp_path / "one", *short, "task=multilabel")
    assert done.code == 2
    assert done.err.strip().endswith("error: data digits has one class an image: give task=classification")
