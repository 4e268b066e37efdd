"""Which channels of a group a path through a network keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class IndexSet:
    """Channels that are kept: `indices`, ascending and counted from 0, of `size` ones."""

    size: int
    indices: tuple[int, ...]

    @classmethod
    def full(cls, size: int) -> "IndexSet":
        return cls.prefix(size, size)

    @classmethod
    def prefix(cls, size: int, count: int) -> "IndexSet":
        return cls(size, tuple(range(count)))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def is_full(self) -> bool:
        return len(self.indices) == self.size

    @property
    def is_prefix(self) -> bool:
        """Whether these are the leftmost channels; they are ascending, so the last one tells."""
        return not self.indices or self.indices[-1] == len(self.indices) - 1


Choice = dict[str, IndexSet]  # group -> the channels that a path keeps; a group that is not named keeps all
