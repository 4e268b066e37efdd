"""What is kept of a pool's classes."""

import itertools

import numpy as np

from src.cascades import viable
from tests.cascades.pools import small


def test_no_set_is_won_by_a_class_that_was_left_out():
    """Else a prediction or a confidence is wrong, in some set of some pool."""
    softmax, labels, _ = small(members=5, samples=60, classes=40)
    kept = np.zeros((60, 40), dtype=bool)
    for bucket in viable.compacted(list(softmax), labels, slots=3):
        rows, columns = np.nonzero(bucket.classes >= 0)
        kept[bucket.samples[columns], bucket.classes[rows, columns]] = True
        np.testing.assert_array_equal(bucket.classes[0], labels[bucket.samples])
    assert kept.mean() < 0.5
    for size in (1, 2, 3):
        for chosen in itertools.combinations(range(5), size):
            mean = softmax[list(chosen)].astype(np.float64).mean(0)
            assert kept[np.arange(60), mean.argmax(1)].all()


def test_blocks_of_samples_change_nothing(monkeypatch):
    softmax, labels, _ = small(members=3, samples=70, classes=12)
    whole = viable.compacted(list(softmax), labels, slots=5)
    monkeypatch.setattr(viable, "_BLOCK_BYTES", 24 * 9)
    for one, other in zip(whole, viable.compacted(list(softmax), labels, slots=5), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        np.testing.assert_array_equal(one.values, other.values)


def test_a_class_on_the_very_bound_is_kept():
    """Bounds are rounded to half precision: the wrong way, and a class that may win is lost."""
    top = np.linspace(0.2, 1, 4001).astype(np.float16)
    for slots in (3, 5, 7):
        exact = top.astype(np.float64) / slots
        halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16)
        least = halves[np.searchsorted(halves.astype(np.float64), exact)]  # the smallest that is not below the bound
        below = np.nextafter(least, np.float16(0))
        assert viable._viable([np.stack([top, least], 1)], slots)[:, 1].all()
        assert not viable._viable([np.stack([top, below], 1)], slots)[:, 1].any()
