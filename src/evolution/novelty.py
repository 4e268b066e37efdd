"""Whether a search still comes upon new rows: in a space that is nearly exhausted it would go on for very long."""

from src.evolution.budget import UniqueEvaluations


class Novelty:
    """Tells that a search has run dry: too few of the rows that it asked for were new.

    It counts from when it is made, stretch after stretch, and depends on nothing but the rows: a search that is
    replayed ends where it ended.

    Args:
        share: of the rows of a stretch that must have been new, 0..1.
        rows: asked for in a stretch, at least.
        growing: each stretch after the first is as long as all before it, for searches whose populations grow: new rows
            then come in waves, which grow too.
    """

    def __init__(self, evaluations: UniqueEvaluations, share: float, rows: int, growing: bool = False) -> None:
        self.evaluations, self.share, self.rows, self.growing = evaluations, share, rows, growing
        self._asked, self._used = self._first, _ = evaluations.asked, evaluations.used
        self._gone = False

    def gone(self) -> bool:
        """Whether the search has run dry; once it has, it stays so."""
        asked, used = self.evaluations.asked, self.evaluations.used
        stretch = max(self.rows, self._asked - self._first) if self.growing else self.rows
        if not self._gone and asked - self._asked >= stretch:
            self._gone = used - self._used < self.share * (asked - self._asked)
            self._asked, self._used = asked, used
        return self._gone
