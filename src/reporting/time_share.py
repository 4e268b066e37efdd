"""Files that are rewritten again and again, as a record that grows: not so often that it costs more than it tells."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from src.errors import check_range


class TimeShare:
    """Lets something be done as long as it takes at most `share` of the time.

    It is allowed at once the first time, and again when `took / share` seconds have passed since it began last, where
    it took `took`. With 1 it is always allowed, with 0 once.

    Args:
        share: from 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self.share = check_range("share", share, 0, 1)
        self._began: float | None = None
        self._took = 0.0

    def allowed(self) -> bool:
        return self._began is None or self._took <= self.share * (time.monotonic() - self._began)

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Around each time that it is done, allowed or not; what fails counts as well."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._took = time.monotonic() - self._began
