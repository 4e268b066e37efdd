"""A network that is replaced in the middle of a fit: what trains it, averages it and synchronises it goes along.

That two ranks stay equal is tested in tests/always.
"""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.plugins import LayerSync

from src.errors import UserError
from src.runtime.rewrap import rewrap
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits


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


@pytest.mark.parametrize(("precision", "kind"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)])
def test_the_new_network_has_the_precision_of_the_run(precision, kind):
    module = conet(trials=1, epochs_per_trial=2)
    options = {"accelerator": "cpu", "devices": 1, "precision": precision}
    module.search(make_trainer(options, [Replace(keep=False)]), digits())
    assert module.network.fc.weight.dtype == kind


class Watched(EMAWeightAveraging):
    """Averages by hand too: the shadow of one weight, begun anew with the new network."""

    def __init__(self, decay: float):
        super().__init__(decay=decay, use_buffers=False)
        self.decay, self.shadow = decay, None

    def on_train_batch_end(self, trainer, pl_module, *args):
        super().on_train_batch_end(trainer, pl_module, *args)
        weight = pl_module.network.fc.weight.detach().clone()
        begun = self.shadow is not None and trainer.global_step != 6  # the first step of the new network
        self.shadow = self.shadow.lerp(weight, 1 - self.decay) if begun else weight


def test_an_average_of_weights_starts_anew_with_the_new_network():
    """An average over both networks would be of neither, and of other shapes it would not exist."""
    module, average = conet(trials=1, epochs_per_trial=2), Watched(0.9)
    module.search(make_trainer({"accelerator": "cpu", "devices": 1}, [Replace(keep=False), average]), digits())
    assert torch.allclose(module.network.fc.weight, average.shadow, atol=1e-6)  # Lightning ends with the average


class Stop(Exception):
    pass


class ReplaceAtOnce(pl.Callback):
    def on_train_start(self, trainer, pl_module):
        pl_module.replace_network(pl_module.fresh_network(pl_module.base, 9), pl_module.base)

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        raise Stop


class Marking(LayerSync):
    """Stands for SyncBatchNorm, which torch lets work on GPUs only."""

    def apply(self, model):
        for module in model.modules():
            module.synchronised = True
        return model

    def revert(self, model):
        return model


def test_batch_norm_of_the_new_network_is_synchronised_too():
    module = conet(trials=1)
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "strategy": "ddp"}, [ReplaceAtOnce()])
    trainer.strategy._layer_sync = Marking()
    with pytest.raises(Stop):
        module.search(trainer, digits())
    assert all(hasattr(layer, "synchronised") for layer in module.network.modules())


def test_synchronised_batch_norm_without_a_gpu_is_one_sentence():
    with pytest.raises(UserError, match="sync_batchnorm=true needs GPUs"):
        make_trainer({"accelerator": "cpu", "devices": 1, "strategy": "ddp", "sync_batchnorm": True})
