"""Variational weights: what trains them, in which phase, and that a killed training is not lost."""

import shutil
from functools import cache

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from callbacks.run_checkpoint import RunCheckpoint
from callbacks.variational_training import VariationalTraining
from src.errors import UserError
from src.methods.training_module import TrainingModule
from src.runtime.trainer import make_trainer
from src.variational.conversion import variational, variational_layers
from src.variational.kl import KLS
from tests.searching import BASE, digits, random_search, run_random, settings

EPOCHS, STEPS = 5, 5  # warm-up, two of the ramp, full, fine-tuning
SHARES = {"warmup": 0.2, "ramp": 0.4, "finetune": 0.2}


def network() -> nn.Module:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    return variational(plain, init_log_sigma2=-5.0)


class Keep(pl.Callback):
    """Keeps a copy of the checkpoint behind each step."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        if trainer.global_step:
            shutil.copy(self.folder / "last.ckpt", self.folder / f"{trainer.global_step}.ckpt")


def fit(*more, callback=None, checkpoint=None, model=None, trainer=None, **options) -> TrainingModule:
    callback = callback or VariationalTraining(gamma=20.0, lr=0.1, **{**SHARES, **options})
    module = TrainingModule(model or network(), **settings())
    config = {"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0, **(trainer or {})}
    made = make_trainer(config, [callback, *more], max_epochs=EPOCHS)
    made.fit(module, datamodule=data(), ckpt_path=checkpoint, weights_only=True)
    module.logged = {name: float(value) for name, value in made.callback_metrics.items()}
    return module


@cache
def data() -> pl.LightningDataModule:
    return digits()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return fit(Keep(folder), RunCheckpoint(str(folder), every_n_steps=1)), folder


# in the warm-up, in the ramp, at the end of an epoch, at the first step of fine-tuning, in it
@pytest.mark.parametrize("at", [2, 7, 15, 20, 23])
def test_a_killed_training_goes_on_bit_for_bit(whole, at):
    """Adam's moments, gamma and the mask would differ where any of them depended on the process."""
    module, folder = whole
    resumed = fit(checkpoint=str(folder / f"{at}.ckpt"))
    for name, value in module.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert resumed.logged == module.logged


def test_phases_do_what_they_say():
    """log sigma^2 rests in the warm-up and moves in the ramp; fine-tuning is without noise and keeps its mask."""

    class Watch(pl.Callback):
        phases, rates, noisy = [], [], []

        def on_train_epoch_end(self, trainer, pl_module):
            (self_made,) = [c for c in trainer.callbacks if isinstance(c, VariationalTraining)]
            layers = variational_layers(pl_module.network).values()
            self.phases.append(self_made.phase)
            self.rates.append(torch.cat([layer.log_sigma2.detach().flatten().clone() for layer in layers]))
            self.noisy.append({layer.noisy for layer in layers})

    watch = Watch()
    module = fit(watch)
    assert watch.phases == ["warm-up", "KL ramp", "KL ramp", "full KL", "masked fine-tuning"]
    assert watch.noisy == [{False}] + [{True}] * 3 + [{False}]
    assert torch.equal(watch.rates[0], torch.full_like(watch.rates[0], -5.0))
    assert (watch.rates[1] != -5.0).all()
    kept = torch.cat([layer.kept.flatten() for layer in variational_layers(module.network).values()])
    live = torch.cat([layer.live().flatten() for layer in variational_layers(module.network).values()])
    assert 0 < kept.float().mean() < 1
    assert torch.equal(kept, live)
    assert module.logged["train/live_weights"] == pytest.approx(float(live.float().mean()))
    assert module.logged["train/gamma"] == 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_kl_comes_once_a_step_and_divided_by_the_images(accumulate):
    """With accumulation, or with a KL in the loss of every batch, it would count more often."""

    class Note(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            layer = pl_module.network[1]
            self.gradient, self.zeroed = layer.weight.grad.clone(), layer.log_sigma2.grad is None
            self.theta, self.log_sigma2 = layer.weight.detach().clone(), layer.log_sigma2.detach().clone()

    before, after = Note(), Note()
    callbacks = [before, VariationalTraining(gamma=2.0, warmup=0, ramp=0, finetune=0), after]
    module = TrainingModule(network(), **settings(scheduled=False))
    options = {"accelerator": "cpu", "devices": 1, "accumulate_grad_batches": accumulate}
    make_trainer(options, callbacks, max_epochs=1, max_steps=1).fit(module, datamodule=data())
    theta = before.theta.requires_grad_()
    ratio = before.log_sigma2 - (theta.square() + 1e-8).log()
    (expected,) = torch.autograd.grad(2.0 / data().train_size * KLS["ard"](ratio).sum(), theta)
    torch.testing.assert_close(after.gradient - before.gradient, expected, atol=1e-6, rtol=1e-3)
    assert (before.zeroed, after.zeroed) == (False, True)


def test_optimizer_groups():
    """Weight decay on theta raises log alpha by itself; SGD on log sigma^2 would step twice."""
    module = TrainingModule(network(), **settings())
    others, thetas = module.parameter_groups()
    layers = list(variational_layers(module.network).values())
    assert thetas == {"params": [layer.weight for layer in layers], "weight_decay": 0.0}
    assert {id(p) for p in others["params"]} == {id(layer.bias) for layer in layers}
    plain = TrainingModule(nn.Linear(3, 2), **settings())
    assert plain.parameter_groups() == [{"params": list(plain.network.parameters())}]


def test_a_network_without_variational_layers_is_trained_as_without_the_callback():
    def plain() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    with_it, without = fit(model=plain()), fit(callback=pl.Callback(), model=plain())
    assert torch.equal(with_it.network[1].weight, without.network[1].weight)
    assert with_it.logged == without.logged


def test_without_the_callback_it_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"variational.*callbacks\.variational_training\.VariationalTraining"):
        fit(callback=pl.Callback())


def test_divergence_is_told():
    with pytest.raises(UserError, match="diverged"):
        fit(callback=VariationalTraining(lr=100.0, gamma=1e30, warmup=0, ramp=0))


def test_float16_gives_nearly_the_same():
    """Its gradients of log sigma^2 are scaled by 65,536: unscaled neither by Lightning nor by the user's optimizer."""

    class Rates(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
            self.squares = [s["exp_avg_sq"].mean().item() for s in trainer.callbacks[0]._adam.state.values()]

    rates = []
    for plugins in ([], [MixedPrecision("16-mixed", "cpu")]):
        watch, callback = Rates(), VariationalTraining(gamma=1.0, warmup=0, ramp=0, finetune=0)
        fit(watch, callback=callback, trainer={"plugins": plugins})
        rates.append(watch.squares)
    assert rates[1] == pytest.approx(rates[0], rel=0.2)


def test_operations_that_are_skipped_are_left_alone():
    """A dead operation of a super-net has no gradient: its weights would drift away by the KL alone."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.live, self.dead = nn.Flatten(), nn.Linear(64, 10), nn.Linear(64, 10)

        def forward(self, images):
            return self.live(self.flat(images))

    torch.manual_seed(0)
    model = variational(Two(), init_log_sigma2=-5.0)
    before = {name: value.clone() for name, value in model.dead.state_dict().items()}
    fit(model=model, finetune=0)
    assert all(torch.equal(value, before[name]) for name, value in model.dead.state_dict().items())
    assert not torch.equal(model.live.log_sigma2, torch.full_like(model.live.log_sigma2, -5.0))


@pytest.mark.parametrize(
    ("options", "told"),
    [({"kl": "adr"}, "did you mean 'ard'"), ({"gamma": -1}, "gamma=-1"), ({"lr": "fast"}, "lr='fast'")],
)
def test_wrong_values_are_told(options, told):
    with pytest.raises(UserError, match=told):
        VariationalTraining(**options)


def test_of_two_the_first_trains_and_the_other_rests():
    """A search brings its own beside the one for all; together they would charge each weight twice."""
    first = VariationalTraining(gamma=20.0, lr=0.1, where="method.weights", **SHARES)
    both = fit(VariationalTraining(gamma=5.0, lr=0.5), callback=first)
    alone = fit()
    assert all(torch.equal(p, q) for p, q in zip(both.parameters(), alone.parameters(), strict=True))


def test_each_network_of_a_search_goes_through_all_phases():
    """A search that trains one network after the other would leave all but the first without noise or KL."""
    base = {"_target_": "src.variational.conversion.variational", "model": BASE}

    class Phases(pl.Callback):
        def __init__(self):
            self.seen = []

        def on_train_epoch_end(self, trainer, module):
            self.seen.append(callback.phase)

    callback, phases = VariationalTraining(warmup=0.34, ramp=0.33, finetune=0.33), Phases()
    module = random_search(trials=2, epochs_per_trial=3, base=base)
    run_random(module, callback, phases)
    assert phases.seen == ["warm-up", "KL ramp", "masked fine-tuning"] * 2
    plain = random_search(trials=2, epochs_per_trial=3)
    assert [c.params for c in module.candidates] == [plain.space.params(g) for g in module.genotypes]
