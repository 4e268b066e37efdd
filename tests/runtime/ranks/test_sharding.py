"""Every item is done once, by one rank, and all ranks know all results."""

import itertools
import json

import pytest
from two_ranks import on_two_ranks

from src.runtime.ranks.sharding import sharded_map, shares


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_shares_take_each_item_once_and_are_within_the_bound_of_the_best(ranks):
    costs = [7, 1, 3, 3, 9, 2, 5]
    parts = shares(costs, ranks)
    assert sorted(itertools.chain(*parts)) == list(range(len(costs)))
    dearest = max(sum(costs[i] for i in part) for part in parts)
    best = min(
        max(sum(c for c, rank in zip(costs, choice, strict=True) if rank == r) for r in range(ranks))
        for choice in itertools.product(range(ranks), repeat=len(costs))
        if ranks <= 3 or choice[0] == 0
    )
    assert dearest <= 4 / 3 * best


def test_alone_it_is_a_map():
    assert sharded_map(lambda x: x * x, [3, 1, 2], costs=[1, 5, 2]) == [9, 1, 4]
    with pytest.raises(ZeroDivisionError):
        sharded_map(lambda x: 1 / x, [0])


def test_two_ranks_share_the_items_and_a_failure(tmp_path):
    """Without the exchange of failures the rank without one would wait for the other for ever."""
    body = """
import json
from src.errors import UserError
from src.runtime.ranks.sharding import sharded_map
done = []
def square(x):
    done.append(x)
    return x * x
results = sharded_map(square, list(range(7)), costs=[1, 2, 3, 4, 5, 6, 7])
def refuse(x):
    if x == 0:
        raise UserError("no zero")
    return x
try:
    sharded_map(refuse, [0, 1])
except UserError as error:
    told = str(error)
print(json.dumps([done, results, told]))
"""
    first, second = (json.loads(output) for output in on_two_ranks(body, tmp_path))
    assert sorted(first[0] + second[0]) == list(range(7))
    assert min(len(first[0]), len(second[0])) >= 3
    assert first[1] == second[1] == [x * x for x in range(7)]
    assert first[2] == second[2] == "no zero"
