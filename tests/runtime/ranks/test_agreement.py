"""A fingerprint sees every bit of the weights, and ranks see each other's values."""

import torch
from torch import nn
from two_ranks import on_two_ranks

from src.runtime.ranks.agreement import fingerprint, gathered


def test_a_fingerprint_changes_with_one_bit_of_a_weight_or_the_architecture():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    first = fingerprint({"width": 4}, network)
    assert fingerprint({"width": 5}, network) != first
    with torch.no_grad():
        network[0].weight[1, 2] = torch.nextafter(network[0].weight[1, 2], torch.tensor(9.0))
    assert fingerprint({"width": 4}, network) != first


def test_running_statistics_do_not_count():
    """Each rank has those of its own images until the next forward pass."""
    network = nn.BatchNorm1d(4)
    before = fingerprint(None, network)
    network(torch.randn(8, 4))
    assert fingerprint(None, network) == before


def test_types_that_numpy_does_not_know_are_hashed():
    assert fingerprint(None, nn.Linear(2, 2).bfloat16()) != fingerprint(None, nn.Linear(2, 2).bfloat16())


def test_each_rank_gets_the_values_of_all(tmp_path):
    assert gathered(7) == [7]
    body = """
from src.runtime.ranks.agreement import gathered, rank, world_size
print(gathered({"rank": rank()}), world_size())
"""
    assert on_two_ranks(body, tmp_path) == ["[{'rank': 0}, {'rank': 1}] 2"] * 2
