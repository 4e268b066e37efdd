"""Without these a cell could lose the last input of a node, or an operation go in the epoch in which it first slips."""

import itertools

import pytest
import torch

from src.variational.pruning import dropped

NODES = torch.tensor([0, 0, 1, 1, 1])  # of five edges


def by_hand(log_alpha, live, over, patience):
    """One operation at a time, the noisiest first, as long as its node has another one."""
    going = torch.zeros_like(live)
    for kind, node in itertools.product(range(live.shape[0]), range(2)):
        places = [(e, o) for e in range(5) if NODES[e] == node for o in range(live.shape[2])]
        alive = [place for place in places if live[kind][place]]
        due = sorted((place for place in alive if over[kind][place] >= patience), key=lambda p: -log_alpha[kind][p])
        for place in due[: len(alive) - 1]:
            going[kind][place] = True
    return going


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_what_goes_is_what_waited_but_never_the_last_of_a_node(share):
    generator = torch.Generator().manual_seed(int(10 * share))
    for _ in range(20):
        log_alpha = torch.randn(2, 5, 3, generator=generator)
        live = torch.rand(2, 5, 3, generator=generator) < 0.6
        over = torch.where(torch.rand(2, 5, 3, generator=generator) < share, 2, 1)
        assert torch.equal(dropped(log_alpha, live, over, 2, NODES), by_hand(log_alpha, live, over, 2))
