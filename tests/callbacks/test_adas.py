"""AdaS: the groups, and the rule against a hand computation."""

import pytest
import pytorch_lightning as pl

from callbacks.adas import AdaS, _gain, layer_groups
from callbacks.rank_measurement import RankMeasurement
from src.errors import UserError
from src.lowrank.metrics import RankMetrics
from src.networks.resnet import ResNet
from tests.searching import conet, run


def test_every_parameter_is_in_one_group_with_its_convolution():
    network = ResNet([1, 1], [8, 12])
    groups = layer_groups(network)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    stem = next(group for group in groups if group["layer"] == "stem")
    assert {id(p) for p in (network.bn.weight, network.bn.bias)} <= {id(p) for p in stem["params"]}
    assert groups[-1]["sides"] == ("out",)


def test_rates_follow_the_change_of_the_knowledge_gain():
    """lr(t + 1) = beta lr(t) + zeta (G(t) - G(t - 1)) from the second epoch on; each trial starts at the first rate."""
    rates, gains = [], []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            rates.append(trainer.optimizers[0].param_groups[1]["lr"])

        def on_train_epoch_end(self, trainer, pl_module):
            history = next(c for c in trainer.callbacks if isinstance(c, RankMeasurement)).history
            layer = trainer.optimizers[0].param_groups[1]["layer"]
            if history:
                gains.append(sum(history[-1][layer, side].gain for side in ("in", "out")) / 2)

    module = conet(trials=2, epochs_per_trial=3, scheduler=None)
    measurement = RankMeasurement()
    begin = measurement.begin_trial
    measurement.begin_trial = lambda: (gains.append(None), begin())
    run(module, AdaS(beta=0.5), Watch(), measurement=measurement)
    assert rates[:2] == [0.1, 0.1]
    assert rates[2] == pytest.approx(0.5 * 0.1 + gains[1] - gains[0])
    assert rates[3:5] == [0.1, 0.1]


def test_it_wants_no_schedule_beside_it():
    with pytest.raises(UserError, match="scheduler=constant"):
        run(conet(), AdaS())


def test_a_failed_factorisation_keeps_the_gain_of_the_epoch_before():
    """Taken as no gain, it would throw the rate down to the floor and up again (seen with the reference solver)."""
    good = RankMetrics(0.2, 3, 0.3, 1.0, False)
    failed = RankMetrics(float("nan"), -1, float("nan"), float("nan"), True)
    epochs = [{("a", "in"): good, ("a", "out"): good}, {("a", "in"): good, ("a", "out"): failed}]
    assert _gain(epochs, "a", ("in", "out")) == _gain(epochs[:1], "a", ("in", "out")) == pytest.approx(0.3)
    assert _gain([{("a", "out"): failed}], "a", ("out",)) == 0.0
