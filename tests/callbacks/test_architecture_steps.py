"""Steps of theta over stages: each stage has an optimizer of its own, in a resumed run too."""

import shutil

import pytest
import pytorch_lightning as pl
import torch

from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError
from tests.searching import hournas, run_hournas


def test_a_resume_between_two_stages_takes_no_moments_of_the_first(tmp_path):
    """The theta of the second stage is a new one: the moments of Adam are those of what is gone."""

    class Between(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            if module.current_epoch == 2:
                shutil.copy(tmp_path / "last.ckpt", tmp_path / "between.ckpt")

    whole, resumed = hournas(), hournas()
    run_hournas(whole, RunCheckpoint(str(tmp_path)), Between())
    run_hournas(resumed, RunCheckpoint(str(tmp_path / "again")), checkpoint=str(tmp_path / "between.ckpt"))
    assert resumed.stage_number == 1
    assert torch.equal(resumed.theta, whole.theta)


@pytest.mark.parametrize("steps", [{"start_epoch": 2}, {"every": 1000}])
def test_a_stage_without_an_architecture_step_is_refused(steps):
    """Its end would take the first of equal operations for the best."""
    with pytest.raises(UserError, match=r"no architecture step falls into the 2 epochs for vital blocks"):
        run_hournas(hournas(), **steps)
