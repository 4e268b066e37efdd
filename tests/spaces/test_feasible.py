"""The most likely choice within the targets, against a list of all choices."""

import itertools

import pytest
import torch

from src.errors import UserError
from src.spaces.feasible import check_feasible, count_log10, likeliest
from tests.spaces.cost_tables import all_choices, random_table, targets
from tests.spaces.f_macro import TARGETS, VITAL, f_table


def _logs(table, seed):
    logits = torch.randn(table.allowed.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.masked_fill(~table.allowed, -torch.inf).log_softmax(1)


@pytest.mark.parametrize("seed", range(12))
def test_the_likeliest_feasible_choice_is_that_of_a_list_of_all_choices(seed):
    table = random_table(seed, costs=1 + seed % 3)
    choices = all_choices(table)
    middle = table.of(choices).mean(0)
    given = targets((0.02, 0.1, 0.3)[seed // 4], **dict(zip(table.names, middle.tolist(), strict=True)))
    met = given.met_by(choices, table)
    logs = _logs(table, seed)
    likelihood = logs[torch.arange(logs.shape[0]), choices].sum(1).masked_fill(~met, -torch.inf)
    if not met.any():
        with pytest.raises(UserError):
            likeliest(logs, table, given)
    else:
        check_feasible(table, given)
        assert likeliest(logs, table, given).tolist() == choices[likelihood.argmax()].tolist()


def test_costs_within_the_slack_of_the_solver_but_out_of_the_band_are_not_taken():
    """HiGHS takes 1e-6 of a row for nothing, which is 400 MACs of 4e8; the nearest miss here is one MAC."""
    table = random_table(3, blocks=3, costs=1)
    table.table[0] = torch.tensor([[100_000_000, 99_999_999, 100_000_001, 5]] * 3)
    table.allowed[:] = True
    table.fixed[:] = 0
    given = targets(0.0, macs=300_000_001)
    logs = torch.tensor([[0.9, 0.06, 0.03, 0.01]] * 3).double().log()
    choice = likeliest(logs, table, given)
    assert sorted(choice.tolist()) == [0, 0, 2]
    assert table.of(choice).tolist() == [300_000_001]


def test_with_flat_rows_the_other_blocks_take_what_is_likeliest_among_all_that_can_be_completed():
    """A first stage that took its largest operations would leave the second without a choice."""
    table = f_table(False)
    logs = torch.zeros(table.allowed.shape)
    logs[list(VITAL), -2] = 3.0  # kernel 5, expansion 6, squeeze-and-excitation
    given = targets(0.05, macs=220e6, params=3.3e6)
    fixed = dict.fromkeys(VITAL, table.allowed.shape[1] - 2)
    with pytest.raises(UserError):
        check_feasible(table.restricted(fixed), given)
    choice = likeliest(logs, table, given)
    completed = table.restricted({block: int(choice[block]) for block in VITAL})
    check_feasible(completed, given)
    assert sum(int(choice[block]) == fixed[block] for block in VITAL) >= 5


def test_an_operation_without_probability_is_never_taken():
    table = random_table(1, costs=1)
    choices = all_choices(table)
    logs = _logs(table, 1)
    logs[0, 1:] = -torch.inf
    costs = table.of(choices)[:, 0]
    from_zero = costs[choices[:, 0] == 0]
    assert int(likeliest(logs, table, targets(0.0, macs=float(from_zero.max())))[0]) == 0
    rest = sorted(set(costs[choices[:, 0] == 1].tolist()) - set(from_zero.tolist()))
    with pytest.raises(UserError, match="that have a probability"):
        likeliest(logs, table, targets(0.0, macs=rest[0]))


def test_the_choice_on_the_f_macro_meets_both_targets_and_is_the_same_at_each_call():
    table, given = f_table(), targets(0.001, **TARGETS)
    choice = likeliest(_logs(table, 0), table, given)
    assert given.met_by(choice, table)
    assert choice.equal(likeliest(_logs(table, 0), table, given))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"macs": 1e8}, r"method.targets.macs=100,000,000 cannot be met within 5 %.* from 192,562,240 to 571,213,984"),
        ({"macs": 383e6, "params": 9e6}, r"method.targets.params=9,000,000 .* from 2,916,754 to 5,868,673"),
        (
            {"macs": 200e6, "params": 5.2e6},
            "each be met, but not together.* nearest .* is macs 24.,...,..., params 4,1",
        ),
    ],
)
def test_infeasible_targets_are_told_with_what_can_be_reached(values, told):
    with pytest.raises(UserError, match=told):
        check_feasible(f_table(), targets(0.05, **values))


def test_a_target_in_a_gap_between_the_costs_of_the_choices_is_told_with_the_nearest():
    table = random_table(0, costs=1)
    costs = sorted(set(table.of(all_choices(table))[:, 0].tolist()))
    below, above = max(itertools.pairwise(costs), key=lambda pair: pair[1] - pair[0])
    value = below + 0.4 * (above - below)
    with pytest.raises(UserError, match=rf"method\.targets cannot be met: .* is macs {below:,.0f} "):
        check_feasible(table, targets(1e-9, macs=value))


def test_the_size_of_a_space_is_the_product_of_what_its_blocks_may_take():
    table = random_table(2)
    assert 10 ** count_log10(table) == pytest.approx(len(all_choices(table)))


def test_a_tolerance_that_leaves_the_solver_undecided_is_told(monkeypatch):
    """Rather than search for hours, or take a choice that does not meet the targets."""
    monkeypatch.setattr("src.spaces.feasible._MOST_NODES", 50)
    table = f_table()
    choice = torch.where(table.allowed.sum(1) == 1, table.allowed.int().argmax(1), 3)
    with pytest.raises(UserError, match=r"method\.tolerance=1e-06 is too narrow"):
        likeliest(
            _logs(table, 0), table, targets(1e-6, **dict(zip(table.names, table.of(choice).tolist(), strict=True)))
        )
