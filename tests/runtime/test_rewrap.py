"""A network that is replaced in the middle of a fit, in one process and in two."""

import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from src.runtime.rewrap import rewrap
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits

TWO_RANKS = """
import hashlib, sys, torch
torch.set_num_threads(1)
from callbacks.channel_rescaling import ChannelRescaling
from callbacks.rank_measurement import RankMeasurement
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits
module = conet(trials=3, epochs_per_trial=2)
options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "num_sanity_val_steps": 0}
trainer = make_trainer(options, [RankMeasurement(), ChannelRescaling(delta=0.01)])
module.search(trainer, digits(batch_size=32))
text = repr(module.architecture()) + "".join(repr(v.tolist()) for v in module.network.state_dict().values())
open(f"{sys.argv[1]}/rank{trainer.global_rank}", "w").write(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.mark.slow
def test_two_ranks_end_with_the_same_architecture_and_weights(tmp_path):
    """Without a new DDP wrapper the first step after a replacement raises, or the ranks drift apart."""
    root = Path(__file__).parents[2]
    script = tmp_path / "search_on_two_ranks.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(root)!r})\n{TWO_RANKS}")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rank0").read_text() == (tmp_path / "rank1").read_text()


class Replace(pl.Callback):
    """Puts a fresh network in place after the first epoch and notes the learning rate before and after."""

    def __init__(self, keep: bool):
        self.keep, self.rates = keep, []

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 0:
            pl_module.network = pl_module.fresh_network(pl_module.base, 9)
            rewrap(trainer, keep_schedule=self.keep)
            self.before = pl_module.network.fc.weight.detach().clone()


@pytest.mark.parametrize("keep", [True, False])
def test_the_new_network_is_trained_and_the_schedule_kept_or_started_again(keep):
    module, replace = conet(trials=1, epochs_per_trial=3), Replace(keep)
    module.search(make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, [replace]), digits())
    assert not torch.equal(module.network.fc.weight, replace.before)
    steps = len(replace.rates) // 3
    assert (replace.rates[steps] == replace.rates[0]) is not keep
    if keep:
        assert replace.rates[-1] < replace.rates[steps]
