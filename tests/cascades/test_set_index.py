"""The store of sets: each has a place of its own, whatever was forgotten before."""

import numpy as np

from src.cascades.set_index import SetIndex


def test_no_two_sets_share_a_place_when_one_call_fills_the_store_and_forgets_as_well():
    """A place that has just been taken, and never used, must not count as the one used least recently.

    Else two sets share the tables of one, and cascades of the other get errors of networks that they do not hold.
    """
    rng = np.random.default_rng(0)
    index, content = SetIndex(members=20, slots=3, capacity=10), {}
    for count in (4, 9, 10, 3, 7, 1, 10):
        keys = rng.choice(1000, count, replace=False)
        places, lacking, free = index.places_of(keys)
        content.update(zip(free.tolist(), lacking.tolist(), strict=True))
        assert [content[place] for place in places.tolist()] == keys.tolist()
        assert set(places.tolist()) <= set(range(10))
