"""Rows of genes: one canonical row for each sub-net, and draws that are uniform as the docstring says."""

import numpy as np
import pytest

from src.errors import UserError
from src.networks.elastic_mobile.families import FAMILIES
from src.networks.elastic_mobile.macro import check_genotype, largest, macro_of, smallest
from src.spaces.subnet_rows import SubnetRows

STAGE = {"stride": 2, "activation": "relu", "squeeze": False}
PUBLISHED = [4, 2, 2, 2, 2, 2, 3, 2, 3, 2, 4, 2, 3, 2, 4, 2, 3, 3, 6, 2, 3, 4, 6, 2, 2, 2, 2, 2]  # of AlphaNet


def random_rows(rows: SubnetRows, count: int) -> np.ndarray:
    """Any rows, few of them canonical."""
    return np.random.default_rng(0).integers(0, rows.alphabet, size=(count, len(rows.alphabet)))


@pytest.fixture(scope="module")
def gaps() -> SubnetRows:
    """A space in which a stage has 1 or 3 blocks, but not 2."""
    stage = {"widths": [8, 16], "depths": [1, 3], "kernels": [3, 5], "expansions": [2], **STAGE}
    return SubnetRows(macro_of("tiny_images", stages=[stage]))


def test_genes_are_as_many_as_published():
    """Alphabets of NAT and of AlphaNet; blocks that must be there have no gene for being left out."""
    assert SubnetRows(macro_of("alphanet")).alphabet.tolist() == PUBLISHED
    ofa = SubnetRows(macro_of("ofa_mobilenet_v3", multipliers=[1.0, 1.2]))
    assert ofa.alphabet.tolist() == [17, 2, *[9, 9, 10, 10] * 5]
    assert ofa.names[:3] == ("resolution", "width", "stage1.block0")


@pytest.mark.parametrize("family", FAMILIES)
def test_genotypes_and_canonical_rows_are_the_same_thing(family):
    """Of any rows: equal genotypes if and only if canonical rows are equal; both are valid."""
    macro = macro_of(family)
    rows = SubnetRows(macro)
    drawn = np.concatenate([random_rows(rows, 40), rows.uniform(40, np.random.default_rng(1))])
    canonical = rows.canonical(drawn)
    assert np.array_equal(rows.canonical(canonical), canonical)
    assert np.array_equal(drawn[40:], canonical[40:])
    for row, own in zip(drawn, canonical, strict=True):
        genotype = rows.genotype(row)
        assert check_genotype(macro, genotype) == genotype == rows.genotype(own)
        assert np.array_equal(rows.row(genotype), own)
    for of in (smallest, largest):
        assert rows.genotype(rows.row(of(macro))) == of(macro)


def test_a_block_that_is_left_out_leaves_out_those_after_it(gaps):
    """And one that would leave a depth that is not allowed."""
    assert gaps.names[-4:] == ("stage0.width", "stage0.block0", "stage0.block1", "stage0.block2")
    ends = gaps.row(smallest(gaps.macro))[:-3].tolist()
    canonical = {(1, 0, 2): [1, 0, 0], (1, 2, 0): [1, 0, 0], (1, 2, 1): [1, 2, 1], (0, 0, 0): [0, 0, 0]}
    for genes, expected in canonical.items():
        assert gaps.canonical(np.array([[*ends, *genes]]))[0, -3:].tolist() == expected
    assert gaps.genotype(np.array([*ends, 1, 2, 1]))["kernels"] == [[5, 5, 3]]


def test_draws_are_uniform_in_depth_kernel_and_expansion():
    """Of 6,000 draws each of n choices comes 6,000 / n times, four deviations at most away."""
    stage = {"widths": [16], "depths": [1, 2, 3], "kernels": [3, 5], "expansions": [2, 3, 4], **STAGE}
    rows = SubnetRows(macro_of("small_images", stages=[stage] * 3, resolutions=[16, 20, 24, 28, 32]))
    found = rows.choices(rows.uniform(6000, np.random.default_rng(0)))
    there = found.depths[2] == 3
    for values, choices in (
        (found.resolutions, range(5)),
        (found.depths[1], (1, 2, 3)),
        (found.kernels[0][:, 0] * 3 + found.expansions[0][:, 0], range(6)),
        ((found.kernels[2] * 3 + found.expansions[2])[there, 2], range(6)),
        (found.depths[0] * 4 + found.depths[2], [4 * one + other for one in (1, 2, 3) for other in (1, 2, 3)]),
    ):
        share = 1 / len(choices)
        counts = np.array([(values == choice).sum() for choice in choices])
        assert counts.sum() == len(values)
        assert np.abs(counts - share * len(values)).max() < 4 * np.sqrt(share * len(values))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((2, 7), dtype=int), r"8 whole genes each; given was an array of shape \(2, 7\)"),
        (np.zeros((1, 8)), "type float64"),
        (np.array([[0, 0, 6, 0, 0, 0, 0, 0]]), r"row 0: gene 2 \(stage0.block0\) is 6; it must be from 0 to 5"),
    ],
)
def test_rows_of_another_space_are_an_error(rows, words):
    with pytest.raises(UserError, match=words):
        SubnetRows(macro_of("tiny_images")).choices(rows)
