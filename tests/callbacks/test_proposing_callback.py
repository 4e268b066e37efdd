"""The proposals of a search: checked arguments, poor ones left out, remembered over a resume, shown in the report."""

import io

import pytest
import torch

from callbacks import space_proposal as module
from callbacks.space_proposal import SpaceProposal
from src.errors import UserError
from src.spaces.space_proposal import hit_rate, sample
from tests.spaces.cost_tables import random_table, targets

TABLE = random_table(2, blocks=8).restricted({3: 0})
MIDDLE = TABLE.expected(TABLE.allowed / TABLE.allowed.sum(1, keepdim=True))
GIVEN = targets(0.1, **dict(zip(TABLE.names, (1.1 * MIDDLE).tolist(), strict=True)))


def _callback(**arguments) -> SpaceProposal:
    return SpaceProposal(**({"proposals": 2, "steps": 150, "samples": 8} | arguments))


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(module, "_MEASURED", 1000)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"proposals": -1}, "method.proposal.proposals=-1"),
        ({"steps": 0}, "method.proposal.steps=0 is not allowed; it must be a whole number of at least 1"),
        ({"samples": 1.5}, "method.proposal.samples=1.5"),
        ({"lr": 0}, "method.proposal.lr=0 is not allowed; it must be a number from 1e-06 to 100"),
        ({"tau_start": -1}, "method.proposal.tau_start=-1"),
        ({"tau_end": 0.0}, "method.proposal.tau_end=0.0"),
        ({"entropy": -0.1}, "method.proposal.entropy=-0.1"),
        ({"loss": "absolut"}, "method.proposal.loss='absolut' is not known; did you mean 'absolute'"),
        ({"least_hits": 2}, "method.proposal.least_hits=2"),
    ],
)
def test_a_mistake_names_its_key(arguments, told):
    with pytest.raises(UserError) as error:
        SpaceProposal(**arguments)
    assert told in str(error.value)


def test_the_repr_builds_the_same():
    callback = _callback(entropy=0.02, loss="squared")
    assert repr(eval(repr(callback))) == repr(callback)


def test_what_proposals_draw_meets_the_targets_and_their_figures_say_so():
    callback = _callback()
    logits = callback.proposals_for(TABLE, GIVEN, 0)
    assert logits.shape == (2, 8, 4)
    rates = [hit_rate(sample(own, 4000, torch.Generator().manual_seed(0)), TABLE, GIVEN) for own in logits]
    assert min(rates) > 0.5
    assert callback.state_dict()["state"]["hits"] == pytest.approx(rates, abs=0.06)
    facts = callback.facts()
    assert facts["space proposals"].startswith("2 of 2 starts in ")
    assert "% of uniform" in facts["samples that meet all targets"]


def test_a_resumed_run_has_the_proposals_without_fitting_them_again(monkeypatch):
    """Through a file that holds plain values only, as a checkpoint does."""
    callback = _callback()
    logits = callback.proposals_for(TABLE, GIVEN, 0)
    callback.nearest = 1
    file = io.BytesIO()
    torch.save(callback.state_dict(), file)
    file.seek(0)
    resumed = _callback()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    monkeypatch.setattr(module, "propose", None)
    assert resumed.proposals_for(TABLE, GIVEN, 0).equal(logits)
    assert resumed.nearest == 1
    assert resumed.facts() == callback.facts()
    with pytest.raises(TypeError):  # another question is answered anew
        resumed.proposals_for(TABLE, GIVEN, 1)


def test_poor_proposals_are_left_out_with_a_warning_but_for_the_best(monkeypatch):
    good = _callback().proposals_for(TABLE, GIVEN, 0)
    worst = torch.zeros_like(good[0]).masked_fill(~TABLE.allowed, -torch.inf) - 50 * TABLE.table[0] / 1000
    monkeypatch.setattr(module, "propose", lambda *arguments: torch.stack([worst, good[1]]))
    callback = _callback()
    with pytest.warns(UserWarning, match="1 of 2 space proposals are left out"):
        kept = callback.proposals_for(TABLE, GIVEN, 0)
    assert kept.equal(good[1:])
    assert callback.facts()["space proposals"].startswith("1 of 2 starts")
    monkeypatch.setattr(module, "propose", lambda *arguments: worst[None])
    with pytest.warns(UserWarning, match="the best is kept; more method.proposal.steps"):
        assert len(_callback().proposals_for(TABLE, GIVEN, 0)) == 1


def test_an_infeasible_target_is_told_before_anything_is_fitted(monkeypatch):
    monkeypatch.setattr(module, "propose", None)
    with pytest.raises(UserError, match="reach from"):
        _callback().proposals_for(TABLE, targets(0.05, macs=1.0), 0)


def test_the_report_shows_the_costs_and_the_nearest_proposal():
    callback = _callback()
    assert callback.report_figures() == []
    assert callback.facts() == {}
    logits = callback.proposals_for(TABLE, GIVEN, 0, operations=list("wxyz"))
    callback.nearest = 1
    (_, _, costs), (_, caption, picture) = callback.report_figures()
    assert [trace.name for trace in costs.data] == ["uniform", "proposals"]
    assert "came nearest to" in caption
    assert torch.tensor(picture.data[0].z).allclose(logits[1].softmax(-1))
    assert list(picture.data[0].x) == list("wxyz")
    assert picture.data[0].y[3] == "<b>3</b> (fixed)"


def test_no_proposals_are_no_mistake():
    callback = _callback(proposals=0)
    assert callback.proposals_for(TABLE, GIVEN, 0).shape == (0, 8, 4)
    assert callback.facts() == {}
    assert callback.report_figures() == []
