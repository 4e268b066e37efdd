"""A CONet search from start to end, on a tiny network."""

import pytest
import pytorch_lightning as pl
import torch

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.methods.conet import resized_config
from src.runtime.build import network_from
from tests.searching import BASE, conet, run


class Watch(pl.Callback):
    """Notes what is trained: the first weights, the optimizer's parameters and the rates of every epoch."""

    def __init__(self):
        self.first, self.rates, self.foreign = [], [], 0

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch % pl_module.epochs_per_trial == 0:
            self.first.append(pl_module.network.stem.weight.detach().clone())
        own = {id(p) for p in pl_module.network.parameters()}
        held = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
        self.foreign += len(own ^ held)

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_with_delta_zero_every_width_grows_by_the_published_trajectory():
    """16 -> 20 -> 24 -> 28: every width at every update, the last update included, and no training after it."""
    module = conet()
    trainer = run(module, delta=0.0, mapping_condition=1e9)
    assert [set(c.architecture.values()) for c in module.candidates] == [{16}, {20}, {24}]
    assert set(module.widths.values()) == {28}
    assert trainer.current_epoch == 6


def test_with_a_large_delta_every_width_shrinks_to_the_bound():
    """16 -> 12 -> 10 -> 8; there a width is told to grow, as published, but 8 * 1.1 = 8.8 rounds to 8."""
    module = conet(trials=4, epochs_per_trial=2)
    run(module, delta=10.0)
    assert [max(c.architecture.values()) for c in module.candidates] == [16, 12, 10, 8]
    assert set(module.widths.values()) == {8}
    assert [c.extra["widths_at_minimum"] for c in module.candidates] == [0, 0, 0, 4]


def test_the_architecture_is_a_model_config_at_the_costs_that_were_recorded():
    """What is handed over must be what was measured."""
    module = conet(trials=2, epochs_per_trial=2)
    run(module, delta=0.01)
    for candidate in module.candidates:
        network = network_from(resized_config(BASE, (1, 8, 8), candidate.architecture))
        assert sum(p.numel() for p in network.parameters()) == candidate.params
    assert channel_graph(network_from(module.architecture()), (1, 8, 8)).widths() == module.widths


def test_every_trial_starts_from_fresh_weights_optimizer_and_schedule():
    """Otherwise a trial would be judged by the training of the one before."""
    watch = Watch()
    module = conet(trials=2, epochs_per_trial=2, init_width=8, min_width=8, max_width=8)
    run(module, watch, patience=0)
    first, second = watch.first
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    assert watch.foreign == 0
    half = len(watch.rates) // 2
    assert watch.rates[:half] == watch.rates[half:]
    assert max(watch.rates) == pytest.approx(0.1)


def test_it_ends_early_when_no_width_moves():
    module = conet(trials=5, epochs_per_trial=2, init_width=8, min_width=8, max_width=8)
    trainer = run(module, patience=2)
    assert trainer.current_epoch == 4
    assert len(module.candidates) == 2


def test_one_seed_one_result():
    """The decisions and the weights of two runs are the same, whatever was drawn before them."""
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        module = conet(trials=2, epochs_per_trial=2, seed=3)
        run(module, delta=0.01)
        results.append((module.widths, [c.error for c in module.candidates], module.network.fc.weight))
    assert results[0][:2] == results[1][:2]
    assert torch.equal(results[0][2], results[1][2])


def test_a_checkpoint_rebuilds_the_network_that_was_trained(tmp_path):
    """It loads with weights_only, into a module that was made for the base."""
    module = conet(trials=2, epochs_per_trial=2)
    trainer = run(module, delta=0.0, mapping_condition=1e9)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    other = conet(trials=2, epochs_per_trial=2, seed=5)
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(other.network.stem.weight, module.network.stem.weight)
    assert other.candidates == module.candidates
    assert other.architecture() == module.architecture()


GROUPED = {
    "_target_": "torchvision.models.resnext50_32x4d",
    "num_classes": 10,
}


def test_a_search_goes_on_from_what_a_search_found():
    """Closed under search: it starts at the widths that were found, and does not nest."""
    found = resized_config(BASE, (1, 8, 8), {"stem": 10, "layer2.0.conv1": 14})
    module = conet(base=found, init_width=None)
    assert (module.widths["stem"], module.widths["layer2.0.conv1"], module.widths["layer1.0.conv1"]) == (10, 14, 8)
    assert module.architecture()["model"] == BASE
    assert module.network.stem.out_channels == 10


def test_a_grouped_convolution_at_one_channel_a_group_stays_grouped_in_the_next_search():
    """It looks like a depthwise one; the second search must count and build what the first one knew."""
    first = conet(base=GROUPED, init_width=None, min_width=8, max_width=512, input_shape=(3, 32, 32))
    small = {name: multiple for name, multiple in first.multiples.items() if multiple == 32}
    found = resized_config(GROUPED, (3, 32, 32), small)
    second = conet(base=found, init_width=None, min_width=8, max_width=512, input_shape=(3, 32, 32))
    assert second.multiples == first.multiples
    wider = {**second.widths, **dict.fromkeys(small, 64)}
    network = network_from(resized_config(second.inner, (3, 32, 32), wider))
    assert sum(p.numel() for p in network.parameters()) == int(second.costs.params(wider))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "method.trials=0"),
        ({"epochs_per_trial": 1}, "method.epochs_per_trial=1"),
        ({"init_width": 100}, "init_width=100 is not allowed: width group 'stem' must be from 8 to 64"),
        ({"min_width": 9, "max_width": 8}, "min_width=9 and max_width=8 leave no width"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(UserError, match=message):
        conet(**options)
