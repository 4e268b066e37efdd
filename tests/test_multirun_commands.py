"""`search.py -m` and `train.py -m` for real: jobs of several ranks, and what they leave."""

import csv
import subprocess
import sys

import pytest
import yaml
from failing import ROOT, SHORT

SPY = """
from pathlib import Path
import os
import torch
from pytorch_lightning import Callback

class Spy(Callback):
    def __init__(self, folder, seed, delta):
        self.folder, self.told = folder, f"{seed} {delta}"
    def on_fit_end(self, trainer, module):
        found = "-".join(str(width) for width in module.architecture()["widths"].values())
        with open(Path(self.folder) / f"rank-{trainer.global_rank}.txt", "a") as file:
            file.write(f"{self.told} {trainer.world_size} {os.getpid()} {os.getppid()} {found}\\n")
"""


def multirun(script, folder, *overrides):
    (folder / "spy.py").write_text(SPY)
    return subprocess.run(
        [sys.executable, str(ROOT / script), "-m", *overrides, "hydra.sweep.dir=sweep"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_each_rank_of_a_job_runs_that_jobs_config(tmp_path):
    """Lightning starts a rank by the command line of the process: that of a whole multirun would train anything."""
    done = multirun(
        *("search.py", tmp_path, *SHORT[1:], "logger=csv", "export.formats=[]", "retrain.repeats=1"),
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "seed=3", "method.delta=0.01,0.2"),
        *("+callbacks.spy._target_=spy.Spy", "+callbacks.spy.folder=${hydra:runtime.output_dir}"),
        *("+callbacks.spy.seed=${seed}", "+callbacks.spy.delta=${method.delta}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"spy.py", "sweep"}
    sweep = tmp_path / "sweep"
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1"}
    for number, delta in enumerate(["0.01", "0.2"]):
        job = sweep / str(number)
        ranks = [(job / f"rank-{rank}.txt").read_text().split() for rank in (0, 1)]
        assert [rank[:3] for rank in ranks] == [["3", delta, "2"]] * 2
        assert ranks[0][3] == ranks[1][4]  # the first rank has started the second
        assert ranks[0][5] == ranks[1][5]
        assert yaml.safe_load((job / ".hydra/resolved.yaml").read_text())["method"]["delta"] == float(delta)
        assert len(list(csv.DictReader((job / "candidates.csv").open()))) == 2
        assert not (job / "rank-2.txt").exists()
    rows = list(csv.DictReader((sweep / "comparison.csv").open()))
    assert [(row["method.delta"], row["found_test_error_n"], row["base_macs_n"]) for row in rows] == [
        ("0.01", "1", "1"),
        ("0.2", "1", "1"),
    ]


@pytest.mark.slow
def test_trainings_are_compared_over_seeds_and_failed_ones_are_named(tmp_path):
    options = [*(word for word in SHORT if not word.startswith(("method", "retrain"))), "logger=none"]
    done = multirun("train.py", tmp_path, *options, "export.formats=[]", "seed=0,1", "epochs=1,0")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 2 of 4 jobs failed: job 2 (")
    assert "Traceback" not in done.stderr
    rows = list(csv.DictReader((tmp_path / "sweep" / "comparison.csv").open()))
    assert [(row["epochs"], row["finished"], row["folders"]) for row in rows] == [
        ("1", "2", '["0", "2"]'),
        ("0", "0", "[]"),
    ]
    tables = [(tmp_path / "sweep" / job / "comparison.csv").read_text().splitlines() for job in ("0", "2")]
    errors = [float(next(csv.DictReader(table))["val_error"]) for table in tables]
    assert float(rows[0]["found_val_error_mean"]) == pytest.approx(sum(errors) / 2)
