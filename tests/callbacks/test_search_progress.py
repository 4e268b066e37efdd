"""One bar in a terminal, plain lines in a log, and the truth in both."""

import io
import logging
import pickle
import re
import sys

import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from rich.console import Console

from callbacks.search_progress import SearchProgress
from src.errors import UserError
from src.reporting.candidates import Candidate


class Training(BoringModel):
    """Errors 7, 3, 5, ... by epoch; stops or fails after `last` epochs."""

    errors = (7.0, 3.0, 5.0, 4.0)

    def __init__(self, last=None, fails=False):
        super().__init__()
        self.last, self.fails = last, fails

    def validation_step(self, batch, batch_idx):
        self.log("val/error", 1.0 if self.trainer.sanity_checking else self.errors[self.current_epoch])

    def on_train_epoch_end(self):
        if self.current_epoch + 1 == self.last and self.fails:
            raise RuntimeError("out of memory")
        self.trainer.should_stop = self.current_epoch + 1 == self.last


class Search(Training):
    """Records a candidate every second epoch."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.candidates = []

    def phase(self):
        return f"trial {len(self.candidates) + 1}/2"

    def on_train_epoch_end(self):
        super().on_train_epoch_end()
        if self.current_epoch % 2:
            id = len(self.candidates)
            made = Candidate(id, None, self.current_epoch, 1.39 + id, 1_200_000, 80_000, 0.5, {"a": 1})
            self.candidates.append(made)
            for callback in self.trainer.callbacks:
                if hasattr(callback, "on_candidate"):
                    callback.on_candidate(self.trainer, self, made)


def run(module, terminal=False, epochs=4, width=100, what="fit", console=None, **settings):
    """What a run shows, and its trainer."""
    console = console or Console(file=io.StringIO(), force_terminal=terminal, width=width)
    trainer = pl.Trainer(
        max_epochs=epochs, limit_train_batches=3, limit_val_batches=1, limit_test_batches=2, accelerator="cpu",
        logger=False, enable_checkpointing=False, enable_model_summary=False,
        callbacks=[SearchProgress(console=console, **settings)],
    )  # fmt: skip
    if module.fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            trainer.fit(module)
    else:
        getattr(trainer, what)(module)
    return console.file.getvalue(), trainer


def test_a_log_gets_plain_lines():
    text, _ = run(Search(), plain_every_seconds=0)
    lines = text.splitlines()
    assert lines[0] == "trial 1/2: 4 epochs of 3 batches"
    # the best is not the 1 of the sanity check
    assert re.fullmatch(r"trial 1/2, epoch 1/4, 25 %, \d+:\d\d elapsed, \d+:\d\d left, best 7.00 %", lines[1])
    (candidate,) = [line for line in lines if line.startswith("candidate 0")]
    assert candidate.startswith("candidate 0: error 1.39 %, 1.20 M MACs, 80.0 k parameters, trial 2/2, epoch 2/4")
    assert re.fullmatch(r"finished 4 epochs in \d+:\d\d, best 1.39 % at 1.20 M MACs", lines[-1])
    assert len(lines) == 1 + 4 + 2 + 1
    assert not set(text) & {"\x1b", "\r"}


def test_a_log_is_not_flooded_but_has_every_candidate_and_the_end():
    lines = run(Search(), plain_every_seconds=1000)[0].splitlines()
    assert [line.split()[0] for line in lines] == ["trial", "candidate", "candidate", "finished"]


def test_a_terminal_gets_one_bar():
    text, _ = run(Search(), terminal=True, refresh_per_second=60)
    assert "epoch 1/4" in text
    assert "? left" in text  # in the first epoch nobody knows
    assert "trial 2/2" in text
    assert "best 1.39 % at 1.20 M MACs" in text
    assert "\x1b[2K" in text  # redrawn in place
    assert text.count("\n") == 1  # the bar takes one line of the screen, whatever happens
    assert "finished 4 epochs" in text.rsplit("\r", 1)[-1]


def test_an_early_stop_is_said_and_the_bar_stays_where_it_is():
    assert run(Training(last=2))[0].splitlines()[-1].startswith("stopped after 2 of 4 epochs in")
    last = run(Training(last=2), terminal=True)[0].rsplit("\r", 1)[-1]
    assert "stopped after 2 of 4 epochs" in last
    assert "best 3.00 %" in last
    assert "\x1b[36m" in last  # colour of an unfinished bar


def test_a_prefix_names_the_network_and_its_metrics():
    class Prefixed(Training):
        prefix = "found/"

        def validation_step(self, batch, batch_idx):
            self.log("found/val/error", 2.5)

    lines = run(Prefixed(), plain_every_seconds=0)[0].splitlines()
    assert lines[1].startswith("training found, epoch 1/4")
    assert lines[-1].endswith("best 2.50 %")


def test_a_callback_says_its_phase():
    """The only place where a training of variational weights shows what it is at."""
    console, callback = Console(file=io.StringIO(), width=100), pl.Callback()
    callback.phase = "KL ramp"
    progress = SearchProgress(console=console, plain_every_seconds=0)
    options = {"limit_train_batches": 1, "limit_val_batches": 1, "logger": False, "enable_checkpointing": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback, progress], **options)
    trainer.fit(Training())
    assert console.file.getvalue().startswith("training, KL ramp")


def test_an_exception_closes_the_display():
    before = sys.stdout, sys.stderr
    text, _ = run(Training(last=2, fails=True), terminal=True)
    assert "failed after 2 epochs" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back
    assert (sys.stdout, sys.stderr) == before
    assert "failed after 2 epochs in" in run(Training(last=2, fails=True))[0]


def test_testing_and_validating_have_their_own_bar():
    text, trainer = run(Training(), what="test")
    assert re.fullmatch(r"tested in \d+:\d\d\n", text)
    trainer.callbacks[0]._console = Console(file=io.StringIO(), force_terminal=True)
    trainer.test(Training(), verbose=False)
    assert "testing" in trainer.callbacks[0]._console.file.getvalue()
    assert "validated in" in run(Training(), what="validate")[0]


def test_each_fit_begins_anew():
    text, trainer = run(Training())
    assert text.splitlines()[-1].endswith("best 3.00 %")
    trainer.fit_loop.max_epochs = 5
    module = Training()
    module.errors = (9.0,) * 5
    trainer.fit(module)
    assert trainer.callbacks[0]._console.file.getvalue().splitlines()[-1].endswith("best 9.00 %")


def test_the_best_error_survives_a_resume():
    _, trainer = run(Training())
    again = SearchProgress()
    again.load_state_dict(trainer.callbacks[0].state_dict())
    assert again.state_dict() == {"best_error": 3.0}


def test_log_messages_go_above_the_bar():
    class Talking(Training):
        def on_train_epoch_start(self):
            logging.getLogger("talk").warning("epoch begins")

    old = sys.stderr
    handler = logging.StreamHandler(old)
    logging.getLogger("talk").addHandler(handler)
    try:
        text, _ = run(Talking(), terminal=True)
    finally:
        logging.getLogger("talk").removeHandler(handler)
    assert text.count("epoch begins") == 4
    assert handler.stream is old


def test_other_ranks_show_nothing():
    console = Console(file=io.StringIO(), force_terminal=True)
    progress = SearchProgress(console=console)
    progress.disable()
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", logger=False, callbacks=[progress],
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Training())
    assert console.file.getvalue() == ""


def test_arguments_are_checked_and_the_callback_can_be_sent_to_other_processes():
    with pytest.raises(UserError, match="refresh_per_second=0"):
        SearchProgress(refresh_per_second=0)
    with pytest.raises(UserError, match="plain_every_seconds=-1"):
        SearchProgress(plain_every_seconds=-1)
    assert pickle.loads(pickle.dumps(SearchProgress(2))).refresh_per_second == 2
