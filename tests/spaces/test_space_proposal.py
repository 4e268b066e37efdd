"""Space proposals: fitted to a table, what they draw meets the targets; and the pull towards the nearest."""

import math

import pytest
import torch

from src.errors import UserError
from src.spaces.space_proposal import (
    DISTANCES,
    LOSSES,
    cost_miss,
    distances_to,
    distinct,
    hit_rate,
    mean_entropy,
    propose,
    pull,
    sample,
)
from tests.spaces.cost_tables import random_table, targets
from tests.spaces.f_macro import CHOICE, TARGETS, f_table

GIVEN = targets(0.05, **TARGETS)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _uniform(table):
    return torch.zeros(table.allowed.shape).masked_fill(~table.allowed, -torch.inf)


@pytest.mark.parametrize(("se_of", "params"), [("expanded", "5.352"), ("input", "5.273")])
def test_the_closed_form_of_the_f_macro_counts_the_released_network(se_of, params):
    macs, counted = f_table(False, se_of).of(CHOICE).tolist()
    assert round(macs / 1e6) == 383
    assert f"{counted / 1e6:.3f}" == params


@pytest.mark.parametrize(("loss", "entropy"), [("absolute", 0.01), ("band", 0.03)])  # the specification's, the default
def test_what_proposals_of_the_f_macro_draw_meets_both_targets_and_stays_various(loss, entropy):
    """Of uniform draws 0.12 % do. With 500 steps of 1000, for the time."""
    table = f_table(se_of="input")
    drawn = sample(_uniform(table), 20_000, _generator())
    assert 0.0005 < hit_rate(drawn, table, GIVEN) < 0.002
    for logits in propose(table, GIVEN, 0, proposals=1, steps=500, loss=loss, entropy=entropy):
        drawn = sample(logits, 20_000, _generator())
        assert table.allowed[torch.arange(22), drawn].all()
        assert hit_rate(drawn, table, GIVEN) > 0.95
        assert distinct(drawn) > 15_000
        assert 0.7 < mean_entropy(logits) < 1.6


def test_without_the_entropy_a_proposal_collapses():
    table = f_table()
    collapsed, free = (propose(table, GIVEN, 0, 1, steps=300, entropy=weight)[0] for weight in (0.0, 0.02))
    assert mean_entropy(collapsed) + 0.3 < mean_entropy(free)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_brings_the_mean_costs_to_the_targets(loss):
    table = random_table(2, blocks=8)
    middle = table.expected(table.allowed / table.allowed.sum(1, keepdim=True))
    given = targets(0.05, **dict(zip(table.names, (1.2 * middle).tolist(), strict=True)))
    logits = propose(table, given, 3, proposals=1, steps=200, loss=loss)[0]
    assert given.misses(table.expected(logits.softmax(-1))).abs().max() < 0.1
    assert given.misses(middle).abs().max() > 0.15


def test_in_a_coarse_space_the_band_is_met_where_its_middle_is_empty():
    table = random_table(1)
    middle = table.expected(table.allowed / table.allowed.sum(1, keepdim=True))
    given = targets(0.05, **dict(zip(table.names, (0.8 * middle).tolist(), strict=True)))
    fitted = [propose(table, given, 0, 1, steps=300)[0], propose(table, given, 0, 1, 300, loss="band", entropy=0.03)[0]]
    absolute, band = (hit_rate(sample(logits, 2000, _generator()), table, given) for logits in fitted)
    assert absolute < 0.5
    assert band > 0.9


def test_a_start_is_the_same_whatever_the_number_of_proposals_and_others_are_other():
    """Numbers of a resumed run, or of one with more proposals, would not compare otherwise."""
    table = f_table()
    three = propose(table, GIVEN, 5, proposals=3, steps=60)
    assert three[:1].equal(propose(table, GIVEN, 5, proposals=1, steps=60))
    assert not three[0].equal(three[1])
    assert not three[:1].equal(propose(table, GIVEN, 6, proposals=1, steps=60))


def test_fitting_draws_nothing_of_the_global_state():
    before = torch.get_rng_state()
    propose(random_table(0), targets(0.1, macs=2000), 0, proposals=1, steps=2)
    assert torch.get_rng_state().equal(before)


def test_blocked_operations_have_no_probability_and_no_proposals_are_none():
    table = f_table()
    logits = propose(table, GIVEN, 0, proposals=1, steps=3)[0]
    assert (logits.isneginf() == ~table.allowed).all()
    assert propose(table, GIVEN, 0, proposals=0).shape == (0, 22, 13)


def test_the_entropy_is_that_of_blocks_with_a_choice():
    logits = torch.tensor([[0.0, 0, 0, 0], [0, 0, -torch.inf, -torch.inf], [0, *[-torch.inf] * 3]], requires_grad=True)
    entropy = mean_entropy(logits)
    assert entropy.item() == pytest.approx((math.log(4) + math.log(2)) / 2)
    entropy.backward()
    assert logits.grad.isfinite().all()


def test_the_pull_is_the_closed_form_of_the_nearest_proposal_and_moves_towards_it():
    logits = torch.tensor([[1.0, 0.0], [0.0, 0.5]], requires_grad=True)
    proposals = torch.tensor([[[0.1, 0.9], [0.9, 0.1]], [[0.7, 0.3], [0.4, 0.6]]])
    value, nearest = pull(logits.softmax(-1), proposals)
    expected = (logits.softmax(-1) - proposals[1]).square().sum()
    assert nearest == 1
    assert value.item() == pytest.approx(expected.item())
    value.backward()
    moved = (logits - logits.grad).softmax(-1)
    assert (moved - proposals[1]).square().sum() < value
    assert proposals.grad is None


def test_kl_is_that_of_torch_and_bears_operations_that_a_block_lacks():
    p = torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25]])
    q = torch.tensor([[[0.6, 0.4, 0.0], [1.0, 0.0, 0.0]]])
    expected = torch.distributions.kl_divergence(*(torch.distributions.Categorical(v) for v in (q[0], p))).sum()
    assert distances_to(p, q, "kl").tolist() == pytest.approx([expected.item()])
    for distance in DISTANCES:
        assert distances_to(q[0], q, distance).tolist() == pytest.approx([0.0])


def test_the_cost_miss_is_the_sum_of_the_relative_misses_of_the_mean_costs():
    table = random_table(4)
    probabilities = (table.allowed / table.allowed.sum(1, keepdim=True)).requires_grad_()
    means = table.expected(probabilities).tolist()
    given = targets(0.05, macs=2 * means[0], params=0.8 * means[1])
    miss = cost_miss(probabilities, table, given)
    assert miss.item() == pytest.approx(0.5 + 0.25, rel=1e-5)
    miss.backward()
    assert probabilities.grad.abs().sum() > 0


@pytest.mark.parametrize(("key", "call"), [
    ("proposal.loss", lambda: propose(random_table(0), GIVEN, 0, loss="absolut")),
    ("stage2.distance", lambda: pull(torch.ones(1, 1), torch.ones(1, 1, 1), "L2")),
])  # fmt: skip
def test_an_unknown_form_is_told_with_its_key(key, call):
    with pytest.raises(UserError, match=rf"method\.{key}="):
        call()
