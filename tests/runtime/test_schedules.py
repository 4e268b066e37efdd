"""The cosine schedule against its closed form."""

import math

import pytest
import torch

from src.errors import UserError
from src.runtime.schedules import cosine


def rates(steps: int, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule, seen = cosine(optimizer, steps, **options), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_it_rises_linearly_then_falls_by_half_a_cosine():
    seen = rates(100, warmup=0.1)
    assert seen[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert seen[55] == pytest.approx(2 * 0.5 * (1 + math.cos(math.pi * 45 / 90)))
    assert seen[-1] < 0.01


def test_without_warm_up_it_starts_at_the_full_rate_and_ends_at_the_final_one():
    seen = rates(50, warmup=0.0, final=0.5)
    assert seen[0] == pytest.approx(2.0)
    assert min(seen) >= 1.0


def test_impossible_shares_are_named():
    with pytest.raises(UserError, match=r"scheduler\.warmup=2"):
        rates(5, warmup=2)
