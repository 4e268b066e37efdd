"""Tying and cutting of width variables."""

from fractions import Fraction

import pytest

from src.graph.segments import WidthVariables


def test_unify_cuts_where_borders_do_not_meet():
    """[4, 6] = [7, 3] leaves three variables of 4, 3 and 3: the coarsest common cut."""
    widths = WidthVariables()
    left = widths.new("a", 4) + widths.new("b", 6)
    right = widths.new("c", 7) + widths.new("d", 3)
    widths.unify(left, right, "test")
    assert widths.resolve(left) == widths.resolve(right)
    assert [widths.variables[v].size for v, _ in widths.resolve(left)] == [4, 3, 3]


def test_limits_follow_through_unification():
    """A multiple or a frozen width that got lost would give networks that cannot be built."""
    widths = WidthVariables()
    a, b, c = widths.new("a", 12), widths.new("b", 12), widths.new("c", 12)
    widths.demand_multiple(a, 4, "four groups")
    widths.demand_multiple(b, 3, "three groups")
    widths.unify(a, b, "test")
    assert [widths.variables[v].multiple for v, _ in widths.resolve(b)] == [12]
    widths.freeze(c, "fixed")
    widths.unify(c, b, "test")
    assert [widths.variables[v].frozen for v, _ in widths.resolve(a)] == ["fixed"]


def test_a_repetition_ties_a_coarse_variable_to_a_fine_one():
    widths = WidthVariables()
    fine, coarse = widths.new("fine", 5), widths.new("coarse", 10)
    widths.unify(coarse, ((fine[0][0], 2),), "test")
    assert widths.resolve(coarse) == ((fine[0][0], 2),)


@pytest.mark.parametrize(("sizes", "count", "part"), [([8], 2, 4), ([5, 5], 2, 5), ([3, 3, 3], 3, 3), ([9], 2, None)])
def test_equal_parts(sizes, count, part):
    widths = WidthVariables()
    whole = tuple(segment for i, size in enumerate(sizes) for segment in widths.new(str(i), size))
    found = widths.equal_parts(whole, count)
    assert (widths.size(found) if found else None) == part
    if found:
        assert widths.resolve(whole) == found * count


def test_equal_parts_make_a_whole():
    """A factorised reduce: two halves of one width, which stays even whatever it is tied to."""
    widths = WidthVariables()
    older, halves = widths.new("older", 8), [widths.new("first", 4), widths.new("second", 4)]
    whole = widths.equal_whole(halves)
    assert widths.resolve(halves[0]) == widths.resolve(halves[1]) == ((whole[0][0], Fraction(1, 2)),)
    widths.unify(older, whole, "test")
    assert widths.resolve(halves[1]) == ((older[0][0], Fraction(1, 2)),)
    assert widths.size(halves[1]) == 4
    assert widths.variables[older[0][0]].multiple == 2
    widths.demand_multiple(halves[0], 2, "two groups")
    assert widths.variables[older[0][0]].multiple == 4
    assert widths.resolve(((halves[0][0][0], 6),)) == ((older[0][0], 3),)


def test_parts_that_are_unlike_are_no_equal_parts():
    widths = WidthVariables()
    assert widths.equal_whole([widths.new("a", 4), widths.new("b", 6)]) is None
    once = widths.new("c", 4)
    assert widths.equal_whole([once, once]) is None
    assert widths.equal_whole([once, ((once[0][0], 2),)]) is None
