"""When ranks are measured, and that they survive a checkpoint."""

import pytest
import torch

from callbacks.channel_rescaling import ChannelRescaling
from callbacks.rank_measurement import RankMeasurement
from src.errors import UserError
from src.lowrank.metrics import measure
from src.networks.resnet import ResNet
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits, run


def test_it_measures_the_trained_weights_of_every_convolution():
    network = ResNet([1, 1], [8, 12])
    found = RankMeasurement().measure(network)
    weight = network.layer1[0].conv1.weight.detach()
    assert found["layer1.0.conv1", "in"] == measure({"layer1.0.conv1": weight})["layer1.0.conv1", "in"]
    assert len({layer for layer, _ in found}) == 7  # six convolutions and the classifier


def test_epochs_may_be_left_out_but_the_last_of_a_trial_is_measured():
    measurement = RankMeasurement(every_n_epochs=2)
    kept = []
    measurement.begin_trial = lambda: (
        kept.append([m is not None for m in measurement.history]),
        measurement.history.clear(),
    )
    run(conet(trials=1, epochs_per_trial=4), measurement=measurement)
    assert kept == [[True, False, True, True]]


def test_its_state_is_plain_and_comes_back():
    measurement = RankMeasurement()
    measurement.history = [measurement.measure(ResNet([1], [8])), None]
    other = RankMeasurement()
    other.load_state_dict(torch.load(_saved(measurement.state_dict()), weights_only=True))
    assert str(other.history) == str(measurement.history)


def _saved(value):
    import io

    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


def test_diverged_weights_are_named():
    network = ResNet([1], [8])
    network.stem.weight.data[0] = float("nan")
    with pytest.raises(UserError, match="stem"):
        RankMeasurement().measure(network)


def test_rescaling_says_what_it_needs():
    module, trainer = conet(), make_trainer({"accelerator": "cpu"}, [ChannelRescaling()])
    with pytest.raises(UserError, match="needs the callback RankMeasurement"):
        module.search(trainer, digits())
    trainer = make_trainer({"accelerator": "cpu"}, [ChannelRescaling(), RankMeasurement()])
    with pytest.raises(UserError, match="RankMeasurement must stand before"):
        conet().search(trainer, digits())


@pytest.mark.parametrize("options", [{"solver": "exakt"}, {"normalise": "row"}, {"every_n_epochs": 0}])
def test_its_arguments_are_checked(options):
    with pytest.raises(UserError, match=next(iter(options))):
        RankMeasurement(**options)
