"""The two commands as a user runs them: what they leave behind, and what they say to a mistake."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from failing import run as run_warm
from failing import succeeded

from tests.always.methods import METHODS

ROOT = Path(__file__).parents[1]
SHORT = [
    "trainer=cpu",
    "trainer.threads=1",
    "data.limit=320",
    "method.trials=2",
    "method.epochs_per_trial=2",
    "model._target_=src.networks.resnet.ResNet",
    "+model.blocks=[1,1]",
    "+model.channels=[8,12]",
    "retrain.epochs=2",
    "retrain.repeats=2",
]


def command(script: str, *overrides: str, folder: Path | None = None, check: bool = True):
    """Runs a script from another folder, as a user may."""
    if folder is not None:
        overrides = (*overrides, f"hydra.run.dir={folder}")
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *overrides], capture_output=True, text=True, cwd=folder and folder.parent
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One short search with everything on: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "search"
    done = command("search.py", *SHORT, "logger.mode=offline", folder=folder)
    return folder, done


def test_a_search_leaves_the_whole_run_folder(run):
    folder, _ = run
    files = {path.name for path in folder.iterdir()}
    assert files >= {
        *("architecture.yaml", "candidates.csv", "pareto.csv", "comparison.csv", "metrics.csv", "report.html"),
        *("weights.pt", "model.pt2", "model.onnx", "checkpoints", "tensorboard", "wandb", ".hydra"),
    }
    assert (folder / ".hydra" / "resolved.yaml").is_file()
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert not list(folder.rglob(".*.tmp"))
    candidates = list(csv.DictReader((folder / "candidates.csv").open()))
    assert [row["id"] for row in candidates] == ["0", "1"]
    metrics = (folder / "metrics.csv").read_text().splitlines()[0]
    assert "found-1/test/error" in metrics
    assert "val/error" in metrics


def test_it_prints_the_table_and_where_the_results_are(run):
    folder, done = run
    for word in ("base", "found", "MACs", "median of 2 seeds", f"run folder: {folder}", "widths are at the minimum"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout  # no control characters where the output is no terminal
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


def test_the_search_part_of_a_run_has_not_seen_the_test_split(run):
    """Its metrics hold no test error before the final tests."""
    rows = list(csv.DictReader((run[0] / "metrics.csv").open()))
    tests = {key for row in rows for key, value in row.items() if value and key.endswith("test/error")}
    assert tests == {"base-0/test/error", "base-1/test/error", "found-0/test/error", "found-1/test/error"}


def test_training_from_a_run_folder_reproduces_the_architecture(run, tmp_path):
    folder, _ = run
    options = ["trainer=cpu", f"architecture={folder}", "epochs=1", "logger=csv", "export.formats=[]"]
    succeeded("train.py", tmp_path / "train", *options)
    assert _yaml(tmp_path / "train" / "architecture.yaml") == _yaml(folder / "architecture.yaml")
    trained = torch.load(tmp_path / "train" / "weights.pt", weights_only=True)
    found = torch.load(folder / "weights.pt", weights_only=True)
    assert {name: value.shape for name, value in trained.items()} == {n: v.shape for n, v in found.items()}


def test_the_weights_of_a_run_folder_give_its_test_error_on_its_data(run, tmp_path):
    """On the default data instead of the run's, the error would be that of another task, without a word."""
    folder = tmp_path / "search"
    shutil.copytree(run[0], folder)
    resolved = folder / ".hydra" / "resolved.yaml"
    resolved.write_text(resolved.read_text().replace("name: digits", "name: my digits"))
    options = ["trainer=cpu", f"architecture={folder}", "test_only=true", "logger=csv", "export.formats=[]"]
    done = succeeded("train.py", tmp_path / "test", *options)
    assert f"data: my digits, as in {folder}" in done.out
    kept = next(csv.DictReader((tmp_path / "test" / "comparison.csv").open()))
    found = [row for row in csv.DictReader((folder / "comparison.csv").open()) if row["network"] == "found"]
    best = min(found, key=lambda row: float(row["val_error"]))
    assert float(kept["test_error"]) == pytest.approx(float(best["test_error"]))


def test_a_search_goes_on_from_a_run_folder(run, tmp_path):
    folder, _ = run
    short = [word for word in SHORT if "model" not in word and "retrain" not in word]
    off = ["retrain.epochs=0", "logger=none", "callbacks.pareto_report=null", "callbacks.search_progress=null"]
    succeeded("search.py", tmp_path / "on", *short, f"architecture={folder}", *off)
    found = _yaml(tmp_path / "on" / "architecture.yaml")
    assert found["model"] == _yaml(folder / "architecture.yaml")["model"]  # not nested in one another
    assert found["widths"].keys() == _yaml(folder / "architecture.yaml")["widths"].keys()


def test_a_second_run_is_not_mixed_into_the_folder_of_the_first(run):
    done = command("search.py", *SHORT, folder=run[0], check=False)
    assert done.returncode == 2
    assert "architecture.yaml of another run" in done.stderr


def test_exported_programs_run_without_this_project(run, tmp_path):
    """In a process that cannot import it, both files give the logits of the trained network, to 1e-4."""
    script = (
        "import sys, torch, onnxruntime\n"
        "x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))\n"
        f"a = torch.export.load(r'{run[0]}/model.pt2').module()(x)\n"
        f"b = onnxruntime.InferenceSession(r'{run[0]}/model.onnx').run(None, {{'images': x.numpy()}})[0]\n"
        "assert not any(name == 'src' or name.startswith('src.') for name in sys.modules)\n"
        f"torch.save((x, a.detach(), torch.from_numpy(b)), r'{tmp_path}/out.pt')\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path, capture_output=True)
    from src.runtime.build import network_from

    images, program, onnx = torch.load(tmp_path / "out.pt", weights_only=True)
    network = network_from(_yaml(run[0] / "architecture.yaml")).eval()
    network.load_state_dict(torch.load(run[0] / "weights.pt", weights_only=True))
    resolved = _yaml(run[0] / ".hydra" / "resolved.yaml")["data"]
    with torch.no_grad():
        wanted = network((images - resolved["mean"][0]) / resolved["std"][0])
    assert torch.allclose(program, wanted, atol=1e-4)
    assert torch.allclose(onnx, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method.dleta=1"], "method.delta"),
        (["method=conett"], "'conet'"),
        (["model=resnet21"], "'resnet20'"),
        (["data=cifar11"], "'cifar10'"),
        (["model=torchvision", "model.name=resnet81"], "resnet18"),
        (["method.min_width=30", "method.max_width=20"], "min_width=30 and max_width=20 leave no width"),
        (["method.trials=0"], "method.trials=0"),
        (["method.delta=fast"], "method.delta='fast'"),
        (["data=mnist", "data.root=/nowhere"], "/nowhere"),
        (["optimizer.lr=1e30", "scheduler=constant"], "diverged"),
        (["model=custom", "model._target_=faults.Branching"], "x.mean() > 0"),
        (["optimizer=adamm"], "'adam'"),
        (["optimizer=null"], "optimizer"),
        (["export.formats=[pt3]"], "'pt2'"),
        (["model=torchvision", "model.name=mobilenet_v2"], "data.channels"),
        (["trainer=gpu"], "no GPU"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_result(overrides, sentence, tmp_path):
    if overrides == ["trainer=gpu"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    short = [word for word in SHORT if "model" not in word] if "model" in overrides[0] else SHORT
    done = run_warm("search.py", tmp_path / "run", *short, "logger=none", *overrides)
    assert done.code == 2, done.out + done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last
    assert "Traceback" not in done.err
    left = {path.name for path in (tmp_path / "run").rglob("*")} if (tmp_path / "run").exists() else set()
    assert not left & {"architecture.yaml", "comparison.csv", "weights.pt", "model.pt2", "model.onnx"}


def test_what_a_search_of_operations_found_is_reported_trained_and_slimmed(tmp_path):
    """Its table has the controls; networks of its vital blocks alone can be trained; widths can be searched in any."""
    hournas = next(method for method in METHODS if method.name == "hournas")
    folder, quiet = tmp_path / "run", ("trainer=cpu", "trainer.threads=1", "logger=none", "export.formats=[]")
    done = succeeded(*hournas.command[:1], folder, *hournas.command[1:], "trainer=cpu", "retrain.epochs=0")
    assert "Warning" not in done.err
    assert "2 of 6 blocks are vital; against the targets: macs" in done.out
    rows = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [row["network"] for row in rows] == ["base mobile_digits", "random-proposal", "found"]
    page = (folder / "report.html").read_text()
    places = [page.find(f">{name}</h2>") for name in ("Vital blocks", "Space proposals", "Proposal", "Operations")]
    assert places[0] > 0
    assert places == sorted(places)
    cheapest = min(csv.DictReader((folder / "pareto.csv").open()), key=lambda row: float(row["macs"]))
    front = folder / "front" / f"candidate_{cheapest['id']}.yaml"
    assert yaml.safe_load(front.read_text())["operations"].count("skip") >= 4
    succeeded("train.py", tmp_path / "train", f"architecture={front}", "epochs=1", *quiet)
    slim = ("method=random", "method.trials=1", "method.epochs_per_trial=1", "retrain.epochs=0")
    succeeded("search.py", tmp_path / "slim", f"architecture={folder}", *slim, *quiet)


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = command("search.py", *SHORT, f"hydra.run.dir={tmp_path}/file/run", check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/file is a file" in done.stderr


def _yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text())
