"""Which entries of a tensor's dimension an index set of a group keeps."""

import itertools
from fractions import Fraction

import pytest

from src.elastic.index_sets import IndexSet, selection

PREFIX, GAP, FULL = IndexSet.prefix(4, 2), IndexSet(4, (0, 3)), IndexSet.full(4)


def test_sets_know_what_they_are():
    assert (len(PREFIX), PREFIX.is_prefix, PREFIX.is_full) == (2, True, False)
    assert (len(GAP), GAP.is_prefix, GAP.is_full) == (2, False, False)
    assert (len(FULL), FULL.is_prefix, FULL.is_full) == (4, True, True)
    assert PREFIX == IndexSet(4, (0, 1)) != IndexSet(5, (0, 1))
    assert len({PREFIX, IndexSet(4, (0, 1)), IndexSet(5, (0, 1)), GAP}) == 3


def test_blocks_of_a_set_must_keep_the_same():
    """Groups of a convolution would else differ in size."""
    found = [
        kept for count in (2, 4) for kept in itertools.combinations(range(6), count) if IndexSet(6, kept).repeats(2)
    ]
    assert found == [(0, 3), (1, 4), (2, 5), (0, 1, 3, 4), (0, 2, 3, 5), (1, 2, 4, 5)]
    assert not IndexSet(6, (0, 3)).repeats(4)  # six channels do not lie in four blocks
    assert not IndexSet(6, (0, 1, 3)).repeats(2)


@pytest.mark.parametrize(
    ("segments", "sets", "expected"),
    [
        (((0, 1),), [FULL], None),
        (((0, 1),), [PREFIX], slice(0, 2)),
        (((0, 1),), [GAP], (0, 3)),
        (((0, 3),), [PREFIX], slice(0, 6)),  # a flatten: three entries a channel
        (((0, 2),), [GAP], (0, 1, 6, 7)),
        (((0, 1), (1, 1)), [FULL, PREFIX], slice(0, 6)),  # concatenated: still the first ones
        (((0, 1), (1, 1)), [PREFIX, FULL], (0, 1, 4, 5, 6, 7)),
        (((0, 1), (1, 2)), [GAP, IndexSet(2, (1,))], (0, 3, 6, 7)),
        (((0, 1), (1, 1), (0, 1)), [GAP, PREFIX], (0, 3, 4, 5, 8, 11)),
        (((0, 1), (1, 1)), [FULL, FULL], None),
        (((0, Fraction(1, 2)),), [IndexSet(4, (0, 2))], slice(0, 1)),  # the first half, of a group of two like halves
        (((0, Fraction(1, 2)),), [IndexSet(4, (1, 3))], (1,)),
        (((0, Fraction(1, 2)), (1, 1)), [IndexSet(4, (0, 2)), GAP], (0, 2, 5)),
    ],
)
def test_what_is_kept_of_a_dimension(segments, sets, expected):
    assert selection(segments, 1, sets, [1] * len(sets)) == expected


def test_of_a_grouped_convolution_s_inputs_one_block_is_kept():
    """Its weight has the input channels of one group only."""
    alike = IndexSet(8, (1, 3, 5, 7))
    assert selection(((0, 1),), 2, [alike], [2]) == (1, 3)
    assert selection(((0, 1),), 2, [IndexSet(8, (0, 1, 4, 5))], [2]) == slice(0, 2)
    assert selection(((0, 1),), 2, [alike], [4]) == (1, 3)  # alike in four blocks too


def test_where_blocks_cut_across_concatenated_channels_the_first_are_kept():
    """There no set is alike in all blocks: the network has the right shape, and shares its weights less exactly."""
    assert selection(((0, 1), (1, 1)), 2, [GAP, PREFIX], [1, 1]) == slice(0, 2)
    assert selection(((0, 2),), 2, [GAP], [1]) == slice(0, 2)
