"""When a candidate is recorded, and what the report makes of candidates that were not made from one another."""

import math

import pytest
import pytorch_lightning as pl
import torch

from callbacks.candidate_history import CandidateHistory
from callbacks.pareto_report import ParetoReport
from callbacks.random_sampling import RandomSampling
from src.errors import UserError
from src.reporting.candidates import read_candidates
from tests.searching import conet, random_search, run, run_random


class Watch(pl.Callback):
    """Notes the first weights of each trial and the rates of every step."""

    def __init__(self):
        self.widths, self.rates = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch % pl_module.epochs_per_trial == 0:
            self.widths.append(pl_module.network.stem.out_channels)

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_each_candidate_is_trained_in_a_trial_of_its_own():
    """With the network or the schedule of the one before, it would not be the candidate that is recorded."""
    watch, module = Watch(), random_search(trials=2, epochs_per_trial=2)
    run_random(module, watch)
    assert watch.widths == [genotype["stem"] for genotype in module.genotypes]
    half = len(watch.rates) // 2
    assert watch.rates[:half] == watch.rates[half:]
    assert max(watch.rates) == pytest.approx(0.1)


def test_the_error_of_a_candidate_is_that_of_its_last_epoch():
    errors = []

    class Errors(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            errors.append(float(trainer.callback_metrics["val/error"]))

    module = random_search(trials=2, epochs_per_trial=2)
    run_random(module, Errors())
    assert [candidate.error for candidate in module.candidates] == errors[1::2]


def test_a_candidate_whose_scores_are_no_numbers_has_no_error():
    """The largest of scores that are NaN is the first class, which is right for a tenth of the images."""

    class Break(pl.Callback):
        def on_validation_start(self, trainer, pl_module):
            if pl_module.trial == 1:
                torch.nn.init.constant_(pl_module.network.fc.bias, math.nan)

    module = random_search(trials=2)
    run_random(module, Break())
    assert [math.isnan(candidate.error) for candidate in module.candidates] == [False, True]


def test_the_report_shows_the_front_and_breaks_the_curves_between_candidates(tmp_path):
    module = random_search(trials=3, epochs_per_trial=2)
    report = ParetoReport(tmp_path, share=1)
    run_random(module, CandidateHistory(tmp_path), report)
    assert read_candidates(tmp_path / "candidates.csv") == module.candidates
    text = (tmp_path / "report.html").read_text()
    assert "for the members of the Pareto front" in text
    figures = {heading: figure for heading, _, figure in report._figures(module, ())}
    (error,) = [trace for trace in figures["Learning curves"].data if trace.name == "val/error"]
    assert list(error.x) == [1, 2, None, 3, 4, None, 5, 6]


def test_it_says_which_method_it_needs():
    with pytest.raises(UserError, match="RandomSampling needs method=random, not CONet"):
        run(conet(), RandomSampling())
