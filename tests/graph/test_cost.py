"""The cost polynomial in bulk; its exactness model by model is in test_models."""

import torch

from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.resize import resized
from tests.graph import networks


def test_a_batch_is_the_single_evaluations():
    """Searches evaluate thousands of width vectors at once."""
    graph = channel_graph(networks.Odds(), (3, 4, 4))
    polynomial = cost_polynomial(graph)
    rows = [{"up": 2 * i, "point": i, "hidden": 3 * i} for i in range(1, 6)]
    batch = polynomial.vector(rows)
    assert polynomial.macs(batch).tolist() == [int(polynomial.macs(row)) for row in rows]
    built = [sum(p.numel() for p in resized(networks.Odds(), row, (3, 4, 4)).parameters()) for row in rows]
    assert polynomial.params(batch).tolist() == built


def test_costs_are_exact_integers_where_float32_is_not():
    """2^24 is where float32 stops counting; ResNets cost 2^32 and more."""
    polynomial = cost_polynomial(channel_graph(networks.Twice(), (3, 4, 4)))
    width = 10_007
    expected = 16 * (3 * width + 2 * 9 * width * width) + 5 * width
    assert int(polynomial.macs({"stem": width})) == expected
    assert polynomial.macs(torch.tensor([[width], [width]])).tolist() == [expected, expected]
