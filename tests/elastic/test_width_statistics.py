"""Sums of losses and wins over training steps, against sums by hand."""

import math

import pytest
import torch

from src.elastic.width_statistics import WidthStatistics, entropy

COUNTS = [[2, 2, 1], [1, 1]]  # index sets of the widths of two groups


def test_losses_are_summed_at_the_width_of_each_group():
    statistics = WidthStatistics(COUNTS)
    statistics.add(torch.tensor([[1, 2], [3, 2], [1, 1]]), torch.tensor([0.5, 1.5, 4.0]))
    assert statistics.losses.tolist() == [[4.5, 0.0, 1.5], [4.0, 2.0, 0.0]]
    assert statistics.steps.tolist() == [[2, 0, 1], [1, 2, 0]]


def test_it_makes_no_difference_in_how_many_parts_steps_are_added():
    """A checkpoint in the middle of an epoch adds what there is so far: a resumed run must not differ in a bit."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.stack([torch.randint(1, 4, (500,), generator=generator), torch.randint(1, 3, (500,))], 1)
    losses = torch.rand(500, generator=generator) * 1e3
    whole, parts = WidthStatistics(COUNTS), WidthStatistics(COUNTS)
    whole.add(rows, losses)
    for part in range(0, 500, 7):
        parts.add(rows[part : part + 7], losses[part : part + 7])
    assert torch.equal(whole.losses, parts.losses)


def test_entropy_is_that_of_the_textbook():
    assert entropy(torch.tensor([[1, 1], [4, 0], [0, 0], [1, 3]])).tolist() == pytest.approx(
        [1.0, 0.0, 0.0, -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75)]
    )


def test_index_sets_that_go_on_winning_show():
    """The sign of early winners that are trained because they won."""
    rows = torch.tensor([[1, 1]] * 40 + [[2, 1]] * 40)
    even = torch.tensor([[step % 2, 0] for step in range(80)])
    statistics = WidthStatistics(COUNTS)
    statistics.add_wins(rows, even)
    assert statistics.evenness()[0] == pytest.approx(1)
    assert statistics.evenness()[1].isnan()  # its widths have no choice
    statistics = WidthStatistics(COUNTS)
    statistics.add_wins(rows, even * (rows == 1))  # the second width: always the first set
    assert statistics.evenness()[0] == pytest.approx(0.5)


def test_of_few_wins_nothing_is_said():
    statistics = WidthStatistics(COUNTS)
    statistics.add_wins(torch.tensor([[1, 1]] * 19), torch.zeros(19, 2, dtype=torch.int64))
    assert statistics.evenness().isnan().all()


def test_widths_of_very_many_index_sets_are_not_counted():
    """Their table would not fit into memory; the others stay."""
    statistics = WidthStatistics([[10**9, 2]])
    statistics.add_wins(torch.tensor([[1], [2]]), torch.tensor([[10**8], [1]]))
    assert statistics.wins.tolist() == [[[0, 0], [0, 1]]]


def test_its_state_comes_back():
    statistics, other = WidthStatistics(COUNTS), WidthStatistics(COUNTS)
    statistics.add(torch.tensor([[3, 2]]), torch.tensor([2.0]))
    statistics.add_wins(torch.tensor([[2, 2]]), torch.tensor([[1, 0]]))
    other.load_state_dict(statistics.state_dict())
    assert all(torch.equal(values, statistics.state_dict()[name]) for name, values in other.state_dict().items())
