"""What is on every path from input to output, against enumeration and against networkx."""

import random

import networkx as nx
import pytest

from src.graph.dominators import dominator_chain


def drawn_graph(seed: int) -> list[list[int]]:
    """A random graph without circles, of 2 to 12 nodes that are numbered along its edges."""
    draw = random.Random(seed)
    count = draw.randint(2, 12)
    density = draw.choice([0.1, 0.25, 0.5])
    return [[after for after in range(node + 1, count) if draw.random() < density] for node in range(count)]


def paths(successors: list[list[int]], start: int, end: int) -> list[list[int]]:
    if start == end:
        return [[end]]
    return [[start, *rest] for after in successors[start] if after <= end for rest in paths(successors, after, end)]


@pytest.mark.parametrize("start_seed", range(0, 400, 100))
def test_the_chain_is_what_all_paths_share(start_seed):
    """Otherwise stem and head would be missed, or a branch be taken for something that everything passes."""
    for seed in range(start_seed, start_seed + 100):
        successors = drawn_graph(seed)
        end = len(successors) - 1
        every = paths(successors, 0, end)
        shared = sorted(set.intersection(*map(set, every))) if every else []
        assert dominator_chain(successors, 0, end) == shared
        if not every:
            continue
        graph = nx.DiGraph((node, after) for node, following in enumerate(successors) for after in following)
        dominator, walk = nx.immediate_dominators(graph, 0), [end]
        while walk[-1] != 0:
            walk.append(dominator[walk[-1]])
        assert walk[::-1] == shared


def test_a_node_between_that_leads_nowhere_is_not_on_the_chain():
    """Side branches, of assertions say, must not stand among the ops on every path."""
    assert dominator_chain([[1, 2], [], [3], []], 0, 3) == [0, 2, 3]
    assert dominator_chain([[1], [], []], 0, 2) == []
