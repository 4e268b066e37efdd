"""Spaces by their names."""

import pytest

from src.errors import UserError
from src.spaces.named import SPACES, named_space
from src.spaces.widths import WidthSpace
from tests.searching import BASE, MOBILE

SHAPE = (1, 8, 8)


def test_settings_of_widths_reach_their_space():
    space = named_space(BASE, SHAPE, "widths", min_width=4, max_width=32, width_multiple=4, shape="even")
    same = WidthSpace(BASE, SHAPE, 4, 32, 4, "even")
    assert (space.bounds, space.multiples) == (same.bounds, same.multiples)
    assert space._grid.centre.equal(same._grid.centre)
    assert named_space(BASE, SHAPE).bounds == WidthSpace(BASE, SHAPE).bounds


def test_a_setting_that_a_space_has_not_is_refused_and_so_is_a_model_of_another_space():
    """It would otherwise be left out without a word."""
    with pytest.raises(UserError, match=r"method.shape='even' is a setting of method.space=widths; operations"):
        named_space(MOBILE, SHAPE, "operations", shape="even")
    for name in ("operations", "cells", "subnets"):
        with pytest.raises(UserError, match=f"^{name} are searched in a"):
            named_space(BASE, SHAPE, name)
    with pytest.raises(UserError, match=r"method.space='width' is not known; did you mean 'widths'"):
        named_space(BASE, SHAPE, "width")
    assert set(SPACES) == {"widths", "operations", "cells", "subnets"}
