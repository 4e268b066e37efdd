"""A fit that is told to stop, wherever, goes on with the same batches, draws and results."""

import contextlib
import os
import signal

import pytest
import pytorch_lightning as pl
import torch

from callbacks.channel_rescaling import ChannelRescaling
from callbacks.pareto_report import ParetoReport
from callbacks.rank_measurement import RankMeasurement
from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError
from src.runtime.checkpoints import RunState
from src.runtime.ranks import stopping
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits


class Stop(pl.Callback):
    """Notes the batches and sends the process a signal before step `at`."""

    def __init__(self, at: int | None, number: int = signal.SIGTERM):
        self.at, self.number, self.seen = at, number, []

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        self.seen.append((trainer.global_step, float(batch[0].double().sum())))
        if trainer.global_step == self.at:
            os.kill(os.getpid(), self.number)

    def on_before_backward(self, trainer, pl_module, loss):
        self.seen[-1] += (float(torch.rand(())),)  # what a dropout would draw


@pytest.fixture(autouse=True)
def not_told(monkeypatch):
    monkeypatch.setattr(stopping, "last_signal", None)


def fit(folder, at=None, resumed=False, stop=None, **options):
    """A CONet search of 2 trials x 2 epochs x 5 steps; returns what is left of it."""
    stopping.last_signal = None
    module, stop, report = conet(trials=2, epochs_per_trial=2), stop or Stop(at), ParetoReport(folder, share=0)
    state = RunState(folder, "run", resumed)
    method = [RankMeasurement(), ChannelRescaling(patience=0)]
    callbacks = [stop, *method, report, RunCheckpoint(f"{folder}/checkpoints", **options)]
    trainer = make_trainer({"accelerator": "cpu", "devices": 1}, callbacks, (), state.checkpoint_io())
    with contextlib.suppress(SystemExit):
        module.search(trainer, digits(), state.checkpoint())
    return module, stop.seen, report.curves


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"))


def assert_same(first, second):
    assert first[0].architecture() == second[0].architecture()
    assert [c.error for c in first[0].candidates] == [c.error for c in second[0].candidates]
    for one, other in zip(first[0].network.parameters(), second[0].network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert first[2] == second[2]


# in an epoch, at its last step, at the end of a trial, at the very end
@pytest.mark.parametrize("at", [0, 2, 4, 7, 9, 10, 13, 19])
def test_a_fit_that_was_told_to_stop_goes_on_as_if_it_had_not(whole, at, tmp_path):
    _, before, _ = fit(tmp_path, at)
    assert len(before) == at + 1  # it has stopped behind that step
    resumed = fit(tmp_path, resumed=True)
    assert before + resumed[1] == whole[1]
    assert_same(resumed, whole)


class StopInLastValidation(Stop):
    def on_validation_start(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            os.kill(os.getpid(), self.number)


def test_a_signal_in_the_last_validation_is_not_forgotten(whole, tmp_path):
    """No step after it would look for it: the run would go on to its end, until the batch system kills it."""
    _, before, _ = fit(tmp_path, stop=StopInLastValidation(None))
    assert len(before) == 20
    assert stopping.last_signal == signal.SIGTERM
    with pytest.raises(SystemExit):
        stopping.stop_if_told()
    assert_same(fit(tmp_path, resumed=True), whole)


def test_a_checkpoint_within_an_epoch_serves_as_well(whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunCheckpoint, "on_train_epoch_end", lambda *args: None)
        fit(tmp_path, every_n_steps=3)
    resumed = fit(tmp_path, resumed=True)
    assert [seen[0] for seen in resumed[1]] == [18, 19]
    assert_same(resumed, whole)


def test_what_fails_does_not_replace_the_last_good_state(tmp_path):
    """A checkpoint of weights that have diverged would be resumed for ever."""

    class Fail(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, index):
            if trainer.global_step == 7:
                raise UserError("no more")

    folder = tmp_path / "checkpoints"
    trainer = make_trainer({"accelerator": "cpu", "devices": 1}, [Fail(), RunCheckpoint(str(folder))])
    with pytest.raises(UserError, match="no more"):
        conet(trials=1).search(trainer, digits())
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 5


def test_a_number_of_steps_that_cannot_be_is_named():
    with pytest.raises(UserError, match="every_n_steps=0"):
        RunCheckpoint("x", every_n_steps=0)
