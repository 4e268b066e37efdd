"""The record of a search is on disk while it goes on, and the loggers show it."""

import csv
import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from callbacks.candidate_history import CandidateHistory
from src.errors import UserError
from src.reporting.candidates import Candidate, read_candidates


class TinySearch(BoringModel):
    """Records a candidate after each epoch, as a search does."""

    def __init__(self):
        super().__init__()
        self.candidates, self.files = [], []

    def on_train_epoch_end(self):
        id = len(self.candidates)
        macs = 1000 * (id + 1)
        made = Candidate(id, None, self.current_epoch, 9.0 - id, macs, 10, 0.5, {"a": macs}, {"latency": 2.0})
        self.candidates.append(made)
        for callback in self.trainer.callbacks:
            if hasattr(callback, "on_candidate"):
                callback.on_candidate(self.trainer, self, made)
                self.files.append(len(read_candidates(callback.path)))


def fit(module, callback, logger=False):
    trainer = pl.Trainer(
        max_epochs=3, limit_train_batches=2, limit_val_batches=1, accelerator="cpu", logger=logger,
        callbacks=[callback], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module)
    return trainer


def test_the_file_grows_with_each_candidate_and_is_mirrored(tmp_path):
    module = TinySearch()
    logger = CSVLogger(tmp_path / "log")
    fit(module, CandidateHistory(tmp_path / "run", share=1), logger)
    assert module.files == [1, 2, 3]  # written at once, not at the end
    assert read_candidates(tmp_path / "run" / "candidates.csv") == module.candidates
    with open(logger.experiment.metrics_file_path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["candidate/best_error"]) for row in rows] == [9, 8, 7]
    assert [float(row["candidate/macs"]) for row in rows] == [1000, 2000, 3000]
    assert float(rows[0]["candidate/latency"]) == 2
    assert [int(row["step"]) for row in rows] == [1, 3, 5]


def test_of_very_many_candidates_the_file_takes_its_share_and_is_whole_with_a_checkpoint(tmp_path):
    """A search of thousands would else write the file thousands of times, the longer the later."""
    module, callback = TinySearch(), CandidateHistory(tmp_path, share=0.0)
    trainer = SimpleNamespace(is_global_zero=True, loggers=[], global_step=1)

    def candidate():
        module.candidates.append(Candidate(len(module.candidates), None, 0, 1.0, 10, 10, 0.5, {}))
        callback.on_candidate(trainer, module, module.candidates[-1])
        return len(read_candidates(callback.path))

    assert [candidate() for _ in range(3)] == [1, 1, 1]
    callback.on_save_checkpoint(trainer, module, {})
    assert len(read_candidates(callback.path)) == 3
    assert candidate() == 3
    callback.on_exception(trainer, module, KeyboardInterrupt())
    assert len(read_candidates(callback.path)) == 4


def test_other_ranks_write_nothing(tmp_path):
    module = TinySearch()
    callback = CandidateHistory(tmp_path / "run")
    trainer = SimpleNamespace(is_global_zero=False, loggers=[], global_step=0)
    callback.setup(trainer, module, "fit")
    callback.on_candidate(trainer, module, None)
    callback.on_fit_end(trainer, module)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_stops_the_fit_before_it_begins(tmp_path):
    (tmp_path / "file").write_text("")
    module = TinySearch()
    with pytest.raises(UserError, match="cannot be made"):
        fit(module, CandidateHistory(tmp_path / "file" / "run"))
    assert module.candidates == []


def end_of_fit(loggers, tmp_path):
    module = TinySearch()
    module.candidates = [Candidate(0, None, 4, 9.0, 1000, 10, 0.5, {"a": 1}, {"latency": 2.0})]
    trainer = SimpleNamespace(is_global_zero=True, loggers=loggers, global_step=7)
    CandidateHistory(tmp_path).on_fit_end(trainer, module)


def test_wandb_gets_a_table_at_the_end(tmp_path):
    logged = []
    run = SimpleNamespace(log=lambda values, **_: logged.append(values))
    end_of_fit([WandbLogger(experiment=run, save_dir=tmp_path)], tmp_path)
    (table,) = [values["candidates"] for values in logged]
    assert table.columns == ["id", "parent", "step", "error", "macs", "params", "latency", "seconds"]
    assert table.data == [[0, None, 4, 9.0, 1000, 10, 2.0, 0.5]]


def test_wandb_is_not_imported_without_its_logger(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it would now fail
    end_of_fit([CSVLogger(tmp_path)], tmp_path)
    assert (tmp_path / "candidates.csv").exists()


def test_repr_rebuilds_the_callback():
    again = eval(repr(CandidateHistory("run", share=0.5)))
    assert (again.folder, again.share) == ("run", 0.5)
