"""From votes and curves to widths; the rule itself is tested in tests/lowrank."""

import math

import pytest
import torch

from callbacks.channel_rescaling import ChannelRescaling, _heard
from src.errors import UserError
from src.lowrank.slope import rank_average_slope
from src.lowrank.width_controller import WidthState, update
from tests.searching import conet, run


def test_slopes_follow_from_the_mean_rank_of_the_votes():
    """Averaging comes before the peak is looked for (the specification, 1.4)."""
    rescaling = ChannelRescaling()
    module = conet(trials=1, epochs_per_trial=3)
    measured = []

    class Copy(ChannelRescaling):
        def _measured(self):
            measured.extend(self.measurement.history)
            return super()._measured()

    import tests.searching as searching

    searching.ChannelRescaling, original = Copy, searching.ChannelRescaling
    try:
        trainer = run(module, delta=0.02)
    finally:
        searching.ChannelRescaling = original
    rescaling = next(c for c in trainer.callbacks if isinstance(c, Copy))
    for name, voices in rescaling.ballot.items():
        curve = torch.tensor(
            [[epoch[vote].rank for (vote,) in voices] for epoch in measured], dtype=torch.float64
        ).mean(1)
        slope = float(rank_average_slope(curve))
        condition = sum(measured[-1][vote].condition for (vote,) in voices) / len(voices)
        assert rescaling.slopes[name] == [pytest.approx(slope)]
        expected = update(WidthState(16), slope, condition, delta=0.02, min_width=8, max_width=64)
        assert module.widths[name] == expected.width


def test_votes_with_one_voice_count_once():
    """The halves of a factorised reduce; of a half that could not be factorised the other speaks."""
    voices = [(("a", "out"), ("b", "out")), (("c", "in"),)]
    values = {("a", "out"): 0.2, ("b", "out"): 0.4, ("c", "in"): 0.9}
    assert _heard(voices, values).tolist() == pytest.approx([0.3, 0.9])
    assert _heard(voices, values | {("a", "out"): math.nan}).tolist() == pytest.approx([0.4, 0.9])


def test_its_state_comes_back():
    module = conet(trials=2, epochs_per_trial=2)
    trainer = run(module, delta=0.01)
    rescaling = next(c for c in trainer.callbacks if isinstance(c, ChannelRescaling))
    other = ChannelRescaling()
    other.load_state_dict(rescaling.state_dict())
    assert other.state_dict() == rescaling.state_dict()
    assert other.states.keys() == module.widths.keys()


def test_the_report_has_a_figure_of_every_measure():
    module = conet(trials=2, epochs_per_trial=2)
    run(module)
    assert [heading for heading, _, _ in module.report_figures()] == ["Ranks", "Rank slopes", "Mapping conditions"]


@pytest.mark.parametrize(
    "options", [{"delta": -1}, {"mapping_condition": 0}, {"factor": 2}, {"votes": "all"}, {"patience": -1}]
)
def test_its_arguments_are_checked(options):
    with pytest.raises(UserError, match=next(iter(options))):
        ChannelRescaling(**options)
