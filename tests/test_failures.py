"""Failures in the middle of a run: one sentence, an exit code that is not zero, and no file that pretends a success.

The commands run in processes of their own, with the disk's and the memory's limits of the system itself.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from failing import SHORT, Done, run
from PIL import Image

WRITERS = ("candidate_history", "pareto_report", "architecture_export", "run_checkpoint")
RESULTS = {"architecture.yaml", "comparison.csv", "weights.pt", "model.pt2", "model.onnx"}


def fault(name: str, **arguments) -> list[str]:
    """A callback of `faults` in the place of the progress bar, which the final trainings have too."""
    bar = "callbacks.search_progress"
    absent = [f"~{bar}.refresh_per_second", f"~{bar}.plain_every_seconds"]
    return [f"{bar}._target_=faults.{name}", *absent, *(f"+{bar}.{key}={value}" for key, value in arguments.items())]


def without(*kept: str) -> list[str]:
    """No callback writes but the `kept` ones."""
    return [f"callbacks.{name}=null" for name in WRITERS if name not in kept]


def failed(done: Done, told: str) -> set[str]:
    """Checks the sentence and the code; returns the names of the files that are left."""
    assert done.code == 2, done.err
    lines = [line for line in done.err.splitlines() if line.strip()]
    kept = [line for line in lines if line.startswith("its state is kept")]
    assert bool(kept) == any(done.folder.glob("checkpoints/*.ckpt"))
    assert len(lines) == 1 + len(kept), done.err
    assert lines[0].startswith("error: ")
    assert told in lines[0]
    files = [path for path in done.folder.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert not [path for path in files if path.name.startswith(".")]
    assert not [path for path in files if path.stat().st_size == 0 and path.suffix != ".log"]
    return {path.name for path in files}


@pytest.mark.parametrize(
    ("told", "limit", "at", "options"),
    [
        ("candidates.csv cannot be written", 10, "fit", without("candidate_history")),
        ("metrics.csv cannot be written", 10, "fit", [*without(), "logger=csv"]),
        ("a file cannot be written", 100, "fit", [*without(), "logger=tensorboard", "logger.csv=false"]),
        ("report.html cannot be written", 100_000, "fit", without("pareto_report")),
        ("last.ckpt cannot be written", 10_000, "fit", without("run_checkpoint")),
        ("front/candidate_0.yaml cannot be written", 10, "fit", [*without("architecture_export"), "retrain.epochs=0"]),
        ("comparison.csv cannot be written", 10, "fit", [*without(), "retrain.epochs=0"]),
        ("weights.pt cannot be written", 5_000, "end", without()),
        ("model.pt2 cannot be written", 25_000, "end", [*without(), "export.formats=[pt2]"]),
        pytest.param(
            *("model.onnx cannot be written", 25_000, "end", [*without(), "export.formats=[onnx]"]),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_full_disk(told, limit, at, options, tmp_path):
    """Without this a search of hours ends with a stack trace, or torch's writer aborts the process (model.pt2)."""
    done = run("search.py", tmp_path / "run", *SHORT, *options, *fault("FullDisk", limit=limit, at=at))
    files = failed(done, told)
    assert told.split()[0] not in files
    assert at == "end" or not files & RESULTS
    if "weights.pt" in files:
        torch.load(done.folder / "weights.pt", weights_only=True)


def test_a_disk_that_fills_up_leaves_the_last_good_files(tmp_path):
    """The report does not fit any more: what was written before it is whole."""
    done = run("search.py", tmp_path / "run", *SHORT, *fault("FullDisk", limit=100_000))
    assert {"candidates.csv", "pareto.csv", "last.ckpt"} <= failed(done, "report.html cannot be written")
    torch.load(done.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert len((done.folder / "candidates.csv").read_text().splitlines()) >= 2


def test_a_full_disk_before_the_run_begins(tmp_path):
    """Hydra's own files do not fit."""
    done = run("search.py", tmp_path / "run", *SHORT, limit=1000)
    failed(done, "cannot be written")


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of 90 images of noise in 3 classes."""
    rng = np.random.default_rng(0)
    for index in range(90):
        path = tmp_path / "images" / ("val" if index >= 60 else "train") / str(index % 3) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def folder_options(root: Path, workers: int) -> list[str]:
    options = ["data=image_folder", f"data.root={root}", "data.image_size=8", "data.channels=1", "data.limit=null"]
    return [*options, f"data.num_workers={workers}", "data.val_fraction=0.2", "method.trials=1"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("keep", "told"), [("null", "3.png is gone"), (30, "3.png cannot be read, it is damaged")])
def test_an_image_that_vanishes_or_breaks_while_it_is_trained_on(workers, keep, told, images, tmp_path):
    lost = fault("LostImage", path=images / "train" / "0" / "3.png", keep=keep)
    done = run("search.py", tmp_path / "run", *SHORT, *without(), *folder_options(images, workers), *lost)
    assert not failed(done, told) & RESULTS


def test_a_killed_reader_does_not_hang_the_run(images, tmp_path):
    options = [*folder_options(images, 2), *fault("DeadWorker")]
    done = run("search.py", tmp_path / "run", *SHORT, *without(), *options)
    assert not failed(done, "a process that reads the data has died") & RESULTS


def test_arrays_that_are_gone_before_the_final_training(tmp_path):
    rng = np.random.default_rng(0)
    parts = {f"{split}_x": rng.integers(0, 256, (60, 8, 8), dtype=np.uint8) for split in ("train", "test")}
    np.savez(tmp_path / "d.npz", **parts, train_y=np.arange(60) % 3, test_y=np.arange(60) % 3)
    data = ["data=arrays", f"data.path={tmp_path}/d.npz", "data.limit=null", "data.val_fraction=0.3"]
    done = run("search.py", tmp_path / "run", *SHORT, *without(), *data, *fault("LostFile", path=tmp_path / "d.npz"))
    assert not failed(done, "d.npz does not exist") & RESULTS


def test_no_memory_on_the_gpu(tmp_path):
    """The candidates of the trials before stay in the record."""
    options = [*without("candidate_history"), "method.trials=3", *fault("NoMemory", at_epoch=2)]
    done = run("search.py", tmp_path / "run", *SHORT, *options)
    files = failed(done, "the GPU has too little memory: use a smaller data.batch_size")
    assert not files & RESULTS
    assert len((done.folder / "candidates.csv").read_text().splitlines()) == 2


def test_no_memory_in_the_machine(tmp_path):
    options = [*without(), "data.image_size=512", *fault("LittleMemory", spare=200 * 2**20)]
    done = run("search.py", tmp_path / "run", *SHORT, *options)
    assert not failed(done, "the machine has too little memory: use a smaller data.batch_size") & RESULTS


def test_a_training_that_diverges(tmp_path):
    done = run("search.py", tmp_path / "run", *SHORT, *without(), "optimizer.lr=1e30", "scheduler=constant")
    assert not failed(done, "the training has diverged") & RESULTS


def test_a_network_that_gives_nan_in_validation_is_wrong_everywhere(tmp_path):
    """Its largest output would be the first, so that it would be right wherever the class is 0."""
    done = run("search.py", tmp_path / "run", *SHORT, *without("candidate_history"), *fault("NotANumber"))
    assert done.code == 0, done.err
    rows = (done.folder / "candidates.csv").read_text().splitlines()
    assert [row.split(",")[rows[0].split(",").index("error")] for row in rows[1:]] == ["100.0", "100.0"]


def test_the_resolved_config_of_the_run_folder_is_what_ran(tmp_path):
    """Every interpolation is resolved, what the data told is filled in, and the run can be repeated from it."""
    done = run("search.py", tmp_path / "run", *SHORT, *without(), "optimizer.lr=0.07", "data.num_classes=null")
    assert done.code == 0, done.err
    resolved = yaml.safe_load((done.folder / ".hydra" / "resolved.yaml").read_text())
    assert "${" not in str(resolved)
    assert resolved["data"]["num_classes"] == resolved["model"]["num_classes"] == 10
    assert resolved["optimizer"]["lr"] == resolved["retrain"]["optimizer"]["lr"] == 0.07
    assert resolved["method"]["module"]["trials"] == resolved["method"]["trials"] == 2
    assert resolved["trainer"]["threads"] == 1
