"""One slip of the hand is told from two, also in names of two letters; without it `optimizer.rl` would name nothing."""

import pytest

from src.errors import did_you_mean, is_slip


@pytest.mark.parametrize("given", ["rl", "l", "lrr", "xr", "lx", "xlr", "r"])
def test_one_slip(given):
    assert is_slip(given, "lr")
    assert did_you_mean(given, ["lr", "momentum"]) == "did you mean 'lr'?"


@pytest.mark.parametrize("given", ["lr", "xy", "lrxx", "", "rxl"])
def test_none_or_several(given):
    assert not is_slip(given, "lr")


def test_slips_agree_with_the_edit_distance():
    """Against the published recurrence (restricted Damerau-Levenshtein) on all words of up to four of two letters."""
    words = [f"{n:b}"[1:] for n in range(1, 32)]
    for given in words:
        for meant in words:
            assert is_slip(given, meant) == (distance(given, meant) == 1), (given, meant)


def distance(first: str, second: str) -> int:
    rows = [[max(i, j) if not i or not j else 0 for j in range(len(second) + 1)] for i in range(len(first) + 1)]
    for i in range(1, len(first) + 1):
        for j in range(1, len(second) + 1):
            other = first[i - 1] != second[j - 1]
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + other)
            if i > 1 and j > 1 and first[i - 2 : i] == second[j - 2 : j][::-1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]
