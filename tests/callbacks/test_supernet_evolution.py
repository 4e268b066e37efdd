"""Archives are evaluated between two iterations, and a search that is resumed there goes on where it was."""

import csv
import shutil

import pytest
import pytorch_lightning as pl
import torch

import callbacks.supernet_evolution as evolution
from callbacks.candidate_history import CandidateHistory
from callbacks.run_checkpoint import RunCheckpoint
from callbacks.supernet_evolution import SupernetEvolution
from src.errors import UserError
from src.runtime.metrics_file import MetricsFile
from src.runtime.ranks.alone import Stop
from tests.evolving import evolve, nat
from tests.searching import random_search, run_random

# a warm-up of another length than an iteration, whose learning rates a resumed search must not go on with
OPTIONS = {"warmup_epochs": 2, "iterations": 2, "swa_iterations": 2}


class Copies(RunCheckpoint):
    """Keeps every checkpoint, by the epoch, and the candidates and measures that the search had."""

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().save(trainer, pl_module)
        name = f"{trainer.current_epoch}-{len(pl_module.candidates)}-{len(pl_module.measures)}"
        shutil.copy(self.path(pl_module), f"{self.folder}/{name}.ckpt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that was saved as often as can be, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evolution, "_SAVE_EVERY", -1.0)
        patch.setattr(evolution, "_TOGETHER", 2)
        patch.setattr(evolution, "done_by_first", told_to_stop_meanwhile)
        module = nat(folder, **OPTIONS)
        evolve(module, folder, Copies(str(folder)))
    return module, folder


def told_to_stop_meanwhile(trainer, work, meanwhile, save):
    """As `done_by_first`, of a run that is told to stop while rank 0 works, and yet goes on."""
    save()
    meanwhile()
    return work(Stop())


def told(module) -> list[tuple]:
    return [(c.id, c.step, c.error, c.macs, c.extra, c.outdated) for c in module.candidates]


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("1-0-0", id="the end of the warm-up"),
        pytest.param("2-2-0", id="the first archive, half of it evaluated"),
        pytest.param("2-4-1", id="before the second archive is proposed"),
        pytest.param("3-6-1", id="the second archive, most of it evaluated"),
        pytest.param("4-12-3", id="with averaged weights"),
    ],
)
def test_a_resumed_search_ends_as_the_whole_one(whole, moment, tmp_path):
    """Lightning would skip the epoch after an evaluation; an archive would be judged, logged or averaged twice."""
    module, folder = whole
    again = nat(tmp_path, **OPTIONS)
    evolve(again, tmp_path, checkpoint=f"{folder}/{moment}.ckpt")
    assert told(again) == told(module)
    assert str(again.measures) == str(module.measures)  # some may be NaN
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), module.parameters(), strict=True))


def test_what_is_logged_has_steps_of_its_own(tmp_path):
    """Of rows with the step of others a resumed run could not tell which to log again."""
    logger = MetricsFile(tmp_path)
    module = nat(tmp_path)
    evolve(module, tmp_path, CandidateHistory(str(tmp_path)), logger=[logger])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert sum(row["candidate/error"] != "" for row in rows) == len(module.candidates)
    assert sum(row["evolution/hypervolume"] != "" for row in rows) == len(module.measures) == 2
    assert sum(row["train/loss"] != "" for row in rows) == 2  # epochs


def test_it_is_for_searches_of_sub_nets_only(tmp_path):
    with pytest.raises(UserError, match="needs method=nat or method=encas_joint, not RandomSearch"):
        run_random(random_search(), SupernetEvolution(str(tmp_path)))
