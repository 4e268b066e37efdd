"""The measures of a collapsed search, on cells whose measures are known."""

from math import log

import pytest
import torch

from src.spaces.collapse import collapse_measures, dead_edges, operation_histogram

SKIPS = [[["skip_connect", 0], ["skip_connect", 1]], [["skip_connect", 0], ["skip_connect", 2]]]
MIXED = [[["skip_connect", 0], ["sep_conv_3x3", 1]], [["max_pool_3x3", 0], ["dil_conv_5x5", 0], ["sep_conv_3x3", 2]]]
GENOTYPE = {"normal": SKIPS, "reduce": MIXED}


def test_a_collapsed_cell_has_no_entropy_and_nothing_but_free_edges():
    found = collapse_measures(GENOTYPE)
    assert (found["entropy_normal"], found["parameter_free_normal"], found["skips_normal"]) == (0, 1, 4)
    assert found["entropy_reduce"] == pytest.approx(0.4 * log(2.5) + 0.6 * log(5))
    assert found["parameter_free_reduce"] == pytest.approx(0.4)
    assert (found["skips"], found["pools"], found["pools_normal"]) == (5, 1, 0)
    assert found["parameter_free"] == pytest.approx(6 / 9)
    shares = torch.tensor([5 / 9, 2 / 9, 1 / 9, 1 / 9])
    assert found["entropy"] == pytest.approx(float(torch.distributions.Categorical(shares).entropy()), rel=1e-6)


def test_histograms_name_what_a_genotype_has_not_and_dead_edges_are_those_without_a_live_operation():
    names = ["none", "sep_conv_3x3", "skip_connect"]
    found = operation_histogram(GENOTYPE, names)
    assert found["normal"] == {"none": 0, "sep_conv_3x3": 0, "skip_connect": 4, "dil_conv_5x5": 0, "max_pool_3x3": 0}
    assert list(found["normal"])[:3] == names
    live = torch.tensor([[[True, False, True], [False, False, True]], [[False] * 3, [False, True, True]]])
    assert dead_edges(live).tolist() == [0, 1]
