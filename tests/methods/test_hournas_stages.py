"""Which blocks are there in which stage, and what random architectures a search ends with."""

import pytest
import torch

from src.methods.hournas_stages import JOINT, REST, VITAL, Stage, options_in, stages_of
from src.methods.path_draws import different_ones, from_proposals
from src.spaces.cost_table import CostTable
from src.spaces.targets import Targets

FIRST, SECOND = Stage(VITAL, 0, 3, False), Stage(REST, 3, 5, True)
ALLOWED = torch.tensor([[True, True, False], [True, True, True], [True, True, False]])


@pytest.mark.parametrize(
    ("vital", "priority", "first"),
    [
        ([True, False], False, FIRST),
        ([True, True], True, FIRST),
        ([False, False], True, FIRST),
        ([True, False], True, Stage(VITAL, 0, 0, False)),
    ],
)
def test_what_cannot_come_first_is_searched_with_the_rest_for_as_long(vital, priority, first):
    """A control that trains for fewer epochs loses for that reason alone."""
    second = Stage(REST, first.epochs, 5, True)
    hard = not all(vital)  # without shortcuts single paths hardly learn
    assert stages_of(vital, priority, first, second) == (Stage(JOINT, 0, first.epochs + 5, hard),)


def test_stages_follow_each_other_and_hold_their_blocks():
    stages = stages_of([True, False, True], True, FIRST, SECOND)
    assert [(stage.begin, stage.end) for stage in stages] == [(0, 3), (3, 8)]
    assert options_in(stages[0], [True, False, True], ALLOWED, {}) == [[0, 1], [], [0, 1]]
    assert options_in(stages[1], [True, False, True], ALLOWED, {0: 1, 2: 0}) == [[1], [0, 1, 2], [0]]


def test_draws_come_from_all_proposals_and_once_each():
    sure = torch.full((2, 1, 3), -torch.inf)
    sure[0, 0, 0] = sure[1, 0, 2] = 0.0
    drawn = from_proposals(sure, 200, torch.Generator().manual_seed(0))[:, 0]
    assert 60 < int((drawn == 0).sum()) < 140
    assert set(drawn.tolist()) == {0, 2}
    costs = CostTable(
        ("macs",), torch.zeros(1).double(), torch.tensor([[[1.0, 2.0, 3.0]]]).double(), torch.ones(1, 3).bool()
    )
    targets = Targets(("macs",), torch.tensor([3.0]).double(), 0.1)

    def draw(count, generator):
        return from_proposals(sure, count, generator)

    assert different_ones(draw, 5, costs, targets, seed=0) == [[2]]  # 0 misses the target, 1 is never drawn
