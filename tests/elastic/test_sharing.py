"""Base, zone and free channels: exactly the index sets that a width may stand for, each as likely as any other."""

import itertools
import math
from collections import Counter

import pytest
import torch

from src.elastic.sharing import LocallyFreeSharing, all_index_sets, base_and_zone, count_index_sets
from src.errors import UserError
from src.runtime.seeds import keyed_generator
from src.spaces.bins import edges, uniform_edges

SIX = tuple(range(1, 7))


def sharing(offset: int = 1, groups: int = 2, size: int = 6, multiple: int = 1, **options) -> LocallyFreeSharing:
    names = [f"g{g}" for g in range(groups)]
    return LocallyFreeSharing({n: range(1, size + 1) for n in names}, dict.fromkeys(names, multiple), offset, **options)


@pytest.mark.parametrize("unit", ["bin", "channel"])
@pytest.mark.parametrize("border", ["clip", "shift"])
def test_no_offset_is_prefix_slicing_at_every_width(border, unit):
    """Else the slimmable baseline would not be one."""
    bins = {"a": (4, 8, 12, 14), "b": (3, 6)}
    free = LocallyFreeSharing(bins, {"a": 1, "b": 1}, 0, border, unit)
    for row in itertools.product(range(1, 5), range(1, 3)):
        (choice,) = free.draw(row, 3, keyed_generator(0))
        assert [set_.indices for set_ in choice.values()] == [
            tuple(range(bins[name][count - 1])) for name, count in zip(bins, row, strict=True)
        ]


@pytest.mark.parametrize(("offset", "counts"), [(0, [1] * 6), (1, [2, 2, 2, 2, 2, 1]), (2, [3, 6, 6, 6, 3, 1])])
def test_the_counts_of_a_layer_of_six_channels(offset, counts):
    assert [count_index_sets(c, offset, 6) for c in SIX] == counts
    assert [len(set(all_index_sets(SIX, c, offset))) for c in SIX] == counts


def test_a_shifted_zone_keeps_its_size_at_the_borders():
    assert [count_index_sets(c, 2, 6, "shift") for c in SIX] == [4, 6, 6, 6, 4, 1]
    assert base_and_zone(1, 3, 4, "shift") == (0, 4, 1)  # a layer of fewer than 2 r: all of it


@pytest.mark.parametrize("border", ["clip", "shift"])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4])
def test_index_sets_keep_their_width_hold_the_base_and_stay_in_the_zone(offset, border):
    size = 12
    for width in range(1, size + 1):
        sets = [set(found) for found in all_index_sets(range(1, size + 1), width, offset, border)]
        base, end, _ = base_and_zone(width, offset, size, border)
        assert {len(found) for found in sets} == {width}
        assert sets[0] == set(range(width))
        assert all(set(range(base)) <= found <= set(range(end)) for found in sets)
        assert set.union(*sets) == set(range(end))
        if offset <= width <= size - offset:
            assert len(sets) == math.comb(2 * offset, offset)
            if offset:
                assert set.intersection(*sets) == set(range(width - offset))
                assert end == min(size, width + offset)
    assert len(sets) == 1  # the full width


@pytest.mark.parametrize(
    "cut", [*[edges(n, 4) for n in (9, 10, 11, 18)], *[uniform_edges(n, 7) for n in (9, 12, 17)], (3, 4, 9, 11, 18)]
)
@pytest.mark.parametrize("border", ["clip", "shift"])
@pytest.mark.parametrize("offset", [1, 2, 3, 4])
def test_bins_of_unequal_size_make_no_difference_to_the_width(cut, border, offset):
    """A short last bin in place of a whole one would be a network of other MACs than its width says."""
    for bins in range(1, len(cut) + 1):
        base, end, _ = base_and_zone(bins, offset, len(cut), border)
        sets = list(all_index_sets(cut, bins, offset, border))
        starts = (0, *cut)
        assert len(set(sets)) == len(sets) == count_index_sets(bins, offset, len(cut), border)
        for found in sets:
            assert len(found) == cut[bins - 1]
            assert list(found) == sorted(set(found))
            assert set(range(starts[base])) <= set(found) <= set(range(starts[end]))


@pytest.mark.parametrize(("offset", "first", "last"), [(1, 0.975, 0.075), (2, 0.942, 0.108)])
def test_how_often_a_channel_is_used(offset, first, last):
    """The exposure of an inner channel is that of prefix slicing; only those next to the ends differ."""
    size, draws = 20, 40_000
    (name,) = (free := sharing(offset, groups=1, size=size)).names
    generator, used = keyed_generator(0), torch.zeros(size)
    widths = torch.randint(1, size + 1, (draws,), generator=generator).tolist()
    for width in widths:
        used[list(free.draw([width], 1, generator)[0][name].indices)] += 1
    expected = torch.tensor([(size - i + 1) / size for i in range(1, size + 1)])
    inner = slice(2 * offset - 1, size - 2 * offset + 1)
    shares = used / draws
    assert torch.allclose(shares[inner], expected[inner], atol=0.01)
    assert shares[0] == pytest.approx(first, abs=0.005)
    assert shares[-1] == pytest.approx(last, abs=0.005)
    assert shares.sum() == pytest.approx((size + 1) / 2, abs=0.1)


def test_all_candidates_are_drawn_where_there_are_no_more():
    free = sharing(groups=2)
    drawn = free.draw_numbers([3, 3], 9, keyed_generator(0))
    assert sorted(drawn) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert free.count([3, 3]) == 4
    assert free.count([6, 6]) == 1


@pytest.mark.parametrize("groups", [2, 40])  # few candidates, which are numbered, and many
def test_candidates_of_a_step_differ_and_are_equally_likely(groups):
    """Two that are the same would compete with themselves; and no part of a width may be left out."""
    free, row = sharing(groups=groups), [3] * groups
    seen, drawn = Counter(), 2000
    for step in range(drawn):
        pair = free.draw_numbers(row, 2, keyed_generator(0, step))
        assert len(set(pair)) == 2
        seen.update((g, number) for numbers in pair for g, number in enumerate(numbers))
    assert all(abs(seen[g, number] / drawn - 1) < 0.1 for g in range(groups) for number in (0, 1))


def test_a_draw_depends_on_its_key_alone():
    free, other = sharing(groups=30), sharing(groups=30)
    free.draw([2] * 30, 2, keyed_generator(9))
    assert free.draw([3] * 30, 2, keyed_generator(1)) == other.draw([3] * 30, 2, keyed_generator(1))
    assert free.draw([3] * 30, 2, keyed_generator(1)) != free.draw([3] * 30, 2, keyed_generator(2))


def test_every_block_of_a_grouped_convolution_keeps_the_same_of_its_channels():
    """Else the groups of the convolution would differ in size, or read channels of each other."""
    (name,) = (free := sharing(groups=1, multiple=3)).names
    choices = {choice[name].indices for choice in free.draw([2], 2, keyed_generator(0))}
    assert choices == {(0, 1, 6, 7, 12, 13), (0, 2, 6, 8, 12, 14)}
    assert free.prefix([6])[name].is_full
    assert free.prefix([6])[name].size == 18


def test_the_zone_may_count_channels_in_place_of_bins():
    free = LocallyFreeSharing({"a": (4, 8, 12)}, {"a": 1}, 1, unit="channel")
    choices = {choice["a"].indices for choice in free.draw([2], 2, keyed_generator(0))}
    assert choices == {tuple(range(8)), (*range(7), 8)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "method.offset_r=-1"),
        ({"offset": 29}, "method.offset_r=29 is not allowed; it must be a whole number from 0 to 28"),
        ({"border": "clipp"}, "method.zone_border='clipp' is not known; did you mean 'clip'"),
        ({"unit": "bins"}, "method.zone_unit='bins' is not known; did you mean 'bin'"),
    ],
)
def test_its_arguments_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        sharing(**options)
