"""Genotypes derived from scores: against brute force, and by hand-made cases."""

import json

import pytest
import torch

from src.errors import UserError
from src.spaces.derivation import derive

EDGES = [(node, state) for node in range(4) for state in range(2 + node)]
OPERATIONS = ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"]
SHAPE = (2, len(EDGES), len(OPERATIONS))


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of few different values, so that many are equal; log alpha about the threshold; half of them dead."""
    own = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, SHAPE, generator=own).float()
    return scores, 3 + 2 * torch.randn(SHAPE, generator=own), torch.rand(SHAPE, generator=own) < 0.5


def by_brute_force(rule, scores, log_alpha, live) -> dict:
    """One candidate at a time, sorted by a key; the first of equal ones comes first as sorting is stable."""
    genotype = {"normal": [], "reduce": []}
    for cell, nodes in enumerate(genotype.values()):
        for node in range(4):
            all_of_node = [
                (edge, o) for edge in range(len(EDGES)) if EDGES[edge][0] == node for o in range(1, len(OPERATIONS))
            ]
            alive = [pair for pair in all_of_node if live[cell][pair]]
            ranked = sorted(alive or all_of_node, key=lambda pair: -scores[cell][pair].item())
            firsts = list({edge: (edge, o) for edge, o in reversed(ranked)}.values())
            firsts.sort(key=ranked.index)
            taken = firsts[: 2 if alive else 1]
            if rule == "ard":
                taken = [pair for pair in alive if log_alpha[cell][pair] < 3.0] or ranked[:1]
            nodes.append([[OPERATIONS[o], EDGES[edge][1]] for edge, o in sorted(taken)])
    return genotype


@pytest.mark.parametrize("rule", ["top2", "ard"])
def test_it_is_what_brute_force_gives_with_ties_and_dead_operations(rule):
    for seed in range(40):
        scores, log_alpha, live = drawn(seed)
        if seed % 4 == 0:
            live[:, 2:9] = False  # nodes 1 and 2 have nothing alive
        found = derive(rule, scores, log_alpha, OPERATIONS, EDGES, live=live)
        assert found == by_brute_force(rule, scores, log_alpha, live)
        assert json.loads(json.dumps(found)) == found
        assert all(node and all(state < 2 + i for _, state in node) for i, node in enumerate(found["normal"]))


def test_top2_takes_the_two_best_edges_and_never_none():
    """`none` has the largest score everywhere, and node 3 its best operations on states 4 and 1."""
    scores = torch.zeros(SHAPE)
    scores[..., 0] = 9
    scores[0, EDGES.index((3, 4)), 2] = 3
    scores[0, EDGES.index((3, 4)), 3] = 2.9  # a second operation of one edge is no second edge
    scores[0, EDGES.index((3, 1)), 3] = 1
    found = derive("top2", scores, None, OPERATIONS, EDGES)
    assert found["normal"][3] == [["max_pool_3x3", 1], ["sep_conv_3x3", 4]]
    assert found["reduce"] == [[["skip_connect", 0], ["skip_connect", 1]]] * 4  # all equal: the first of everything


def test_ard_takes_all_under_the_threshold_and_the_best_score_where_nothing_is():
    log_alpha, scores = torch.full(SHAPE, 3.0), torch.zeros(SHAPE)
    log_alpha[0, 0, :] = torch.tensor([-9.0, 2.9, -1.0, 3.0])  # at the threshold is too much
    scores[0, 3, 2] = scores[0, 4, 0] = 1
    found = derive("ard", scores, log_alpha, OPERATIONS, EDGES)["normal"]
    assert found[0] == [["skip_connect", 0], ["sep_conv_3x3", 0]]
    assert found[1] == [["sep_conv_3x3", 1]]


def test_top2_leaves_out_dead_edges_and_takes_the_best_of_a_node_that_is_dead():
    """Whatever is dead has the largest scores."""
    live = torch.zeros(SHAPE, dtype=torch.bool)
    live[0, 1, 3] = live[0, 4, 1] = True
    scores = torch.where(live, 0.0, torch.arange(SHAPE[1])[None, :, None] + torch.tensor([9.0, 1, 3, 2]))
    found = derive("top2", scores, None, OPERATIONS, EDGES, live=live)["normal"]
    assert found == [[["max_pool_3x3", 1]], [["skip_connect", 2]], [["sep_conv_3x3", 3]], [["sep_conv_3x3", 4]]]


def test_scores_that_are_no_numbers_count_least_and_infinite_ones_most():
    """A mean that is zero has an infinite log alpha, and 0 / 0 must not be taken for the best there is."""
    scores = torch.full(SHAPE, torch.nan)
    scores[0, 0] = torch.tensor([0.0, -torch.inf, -5.0, torch.inf])
    found = derive("top2", scores, None, OPERATIONS, EDGES)["normal"]
    assert found[0] == [["max_pool_3x3", 0], ["skip_connect", 1]]


def test_what_cannot_be_derived_is_told():
    scores = torch.zeros(SHAPE)
    with pytest.raises(UserError, match=r"method.derivation.rule='top3' is not known; did you mean 'top2'"):
        derive("top3", scores, None, OPERATIONS, EDGES)
    with pytest.raises(ValueError, match="needs log_alpha"):
        derive("ard", scores, None, OPERATIONS, EDGES)
    with pytest.raises(ValueError, match="scores has shape"):
        derive("top2", scores[:1], None, OPERATIONS, EDGES)
