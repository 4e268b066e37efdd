"""The report grows with the search and shows what is known at each moment."""

from types import SimpleNamespace

import plotly.graph_objects as go
import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import WandbLogger

from callbacks.pareto_report import ParetoReport
from src.errors import UserError
from src.reporting.candidates import Candidate, read_candidates


class TinySearch(BoringModel):
    """Records a candidate after each epoch, as a search does; fails in epoch `fails_at`."""

    description = {"method": "CONet", "model": "resnet20", "data": "digits", "delta": "0.0075"}  # noqa: RUF012

    def __init__(self, fails_at=None):
        super().__init__()
        self.candidates, self.fails_at = [], fails_at

    prefix = "search/"

    def validation_step(self, batch, batch_idx):
        self.log("search/val/error", 50.0 - self.current_epoch)

    def on_train_epoch_end(self):
        self.log("search/train/loss", float(self.current_epoch))
        if self.current_epoch == self.fails_at:
            raise RuntimeError("out of memory")
        id = len(self.candidates)
        architecture = {"stem": 16 + 2 * id, "conv": 32}
        made = Candidate(
            id, id - 1 if id else None, self.current_epoch, 9.0 - id, 1e6 * (id + 1), 10, 0.5, architecture
        )
        self.candidates.append(made)
        for callback in self.trainer.callbacks:
            if hasattr(callback, "on_candidate"):
                callback.on_candidate(self.trainer, self, made)


def fit(module, callback, epochs=3):
    trainer = pl.Trainer(
        max_epochs=epochs, limit_train_batches=2, limit_val_batches=1, accelerator="cpu", logger=False,
        callbacks=[callback], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module)
    return trainer


def headings(folder):
    text = (folder / "report.html").read_text()
    return [part.split("</h2>")[0].split(">")[-1] for part in text.split("<h2")[1:]]


def test_front_and_page_are_written_in_a_fit(tmp_path):
    module = TinySearch()
    report = ParetoReport(tmp_path / "run", share=1)
    trainer = fit(module, report)
    assert [member.id for member in read_candidates(tmp_path / "run" / "pareto.csv")] == [0, 1, 2]
    assert headings(tmp_path / "run") == ["Pareto front", "Error against cost", "Widths", "Learning curves"]
    text = (tmp_path / "run" / "report.html").read_text()
    assert "<h1>CONet: resnet20 on digits</h1>" in text
    assert "7.00 % (candidate 2)" in text
    trainer.validate(module, verbose=False)
    assert report.curves["train/loss"] == [0, 1, 2]  # though the module logs it after the callbacks
    assert report.curves["val/error"] == [50, 49, 48]  # the epochs of the fit and nothing else


def test_figures_of_the_module_are_shown_and_replace_those_of_the_same_heading(tmp_path):
    module = TinySearch()
    own = [("Widths", "better ones", go.Figure()), ("Ranks", "of the layers", go.Figure())]
    module.report_figures = lambda: own
    fit(module, ParetoReport(tmp_path), epochs=1)
    assert headings(tmp_path) == ["Pareto front", "Error against cost", "Widths", "Ranks", "Learning curves"]
    assert "better ones" in (tmp_path / "report.html").read_text()


def test_a_module_has_facts_of_its_own_and_may_have_no_epochs(tmp_path):
    module = TinySearch()
    module.report_facts = lambda: {"hypervolume": "0.54321"}
    fit(module, ParetoReport(tmp_path / "timed"), epochs=1)
    assert "<dd>0.54321</dd>" in (tmp_path / "timed" / "report.html").read_text()
    module.candidates_take_epochs = False
    ParetoReport(tmp_path / "untimed").write(module)
    pages = [(tmp_path / name / "report.html").read_text() for name in ("timed", "untimed")]
    assert [">epoch</th>" in page and ">seconds</th>" in page for page in pages] == [True, False]


def test_the_final_table_is_added_after_the_fit_and_its_networks_are_marked(tmp_path):
    module = TinySearch()
    report = ParetoReport(tmp_path)
    fit(module, report, epochs=1)
    rows = [{"network": "base resnet20", "parameters": 270_000, "macs": 41e6, "val_error": [8.0, 9.0]}]
    report.write(module, [*rows, {"network": "found", "parameters": 140_000, "macs": 25e6, "val_error": [7.0, 7.5]}])
    text = (tmp_path / "report.html").read_text()
    assert headings(tmp_path)[0] == "Comparison (median of 2 seeds, range in brackets)"
    assert "base resnet20 (full training)" in text
    assert "found (full training)" in text


def test_front_and_page_take_their_share_of_the_time_only(tmp_path):
    module = TinySearch()
    report = ParetoReport(tmp_path, share=0.0)
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=0)
    for id in range(3):
        module.candidates.append(Candidate(id, None, id, 5.0 - id, 1000 + id, 10, 0.5, {"a": 1}))
        report.on_candidate(trainer, module, module.candidates[-1])
    assert len(read_candidates(tmp_path / "pareto.csv")) == 1
    report.on_save_checkpoint(trainer, module, {})
    assert len(read_candidates(tmp_path / "pareto.csv")) == 3  # the small file knows what the checkpoint knows
    assert "(candidate 0)" in (tmp_path / "report.html").read_text()  # the page is still the first
    with pytest.raises(UserError, match="share=2"):
        ParetoReport(tmp_path, share=2)


def test_a_failing_search_leaves_its_report_and_keeps_its_exception(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(TinySearch(fails_at=2), ParetoReport(tmp_path, share=0.0))
    assert "(candidate 1)" in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_does_not_hide_the_exception(tmp_path):
    module = TinySearch(fails_at=1)
    module.report_figures = lambda: 1 / 0 if module.current_epoch else []
    with (
        pytest.warns(UserWarning, match="could not be brought up to date"),
        pytest.raises(RuntimeError, match="memory"),
    ):
        fit(module, ParetoReport(tmp_path))


def test_learning_curves_survive_a_resume():
    report = ParetoReport("run")
    report.curves = {"val/error": [3.0, None, 2.0]}
    again = ParetoReport("run")
    again.load_state_dict(report.state_dict())
    assert again.curves == report.curves


def test_wandb_gets_the_front(tmp_path):
    import wandb

    logged = []
    run = SimpleNamespace(log=lambda values, **_: logged.append(values))
    module = TinySearch()
    module.candidates = [Candidate(0, None, 4, 9.0, 1000, 10, 0.5, {"a": 1})]
    trainer = SimpleNamespace(is_global_zero=True, loggers=[WandbLogger(experiment=run, save_dir=tmp_path)])
    ParetoReport(tmp_path).on_fit_end(trainer, module)
    assert isinstance(logged[0]["pareto_front"], wandb.Plotly)


def test_other_ranks_write_nothing(tmp_path):
    module = TinySearch()
    module.candidates = [Candidate(0, None, 4, 9.0, 1000, 10, 0.5, {"a": 1})]
    trainer = SimpleNamespace(is_global_zero=False, loggers=[])
    report = ParetoReport(tmp_path)
    report.on_candidate(trainer, module, module.candidates[0])
    report.on_fit_end(trainer, module)
    report.on_exception(trainer, module, RuntimeError())
    assert list(tmp_path.iterdir()) == []
