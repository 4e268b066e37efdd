"""What is done again and again takes its share of the time and no more."""

from types import SimpleNamespace

import pytest

from src.errors import UserError
from src.reporting import time_share
from src.reporting.time_share import TimeShare


def times_done(share, monkeypatch):
    """How often something that takes 1 s is done in some 100 s, if it is asked for every tenth of a second."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time_share, "time", SimpleNamespace(monotonic=lambda: clock.now))
    limit, done = TimeShare(share), 0
    while clock.now < 100:
        clock.now += 0.1
        if limit.allowed():
            with limit.spent():
                clock.now += 1
            done += 1
    return done


def test_the_share_is_kept(monkeypatch):
    assert [times_done(share, monkeypatch) for share in (0, 0.1, 1)] == [1, 10, 91]


def test_what_is_no_share_is_refused():
    with pytest.raises(UserError, match="share=2"):
        TimeShare(2)
