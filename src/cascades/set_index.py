"""Which sets of members have their tables at hand, and where: a store that forgets what was used least recently."""

import numpy as np

from src.cascades.thresholds import MOST_MEMBERS
from src.errors import UserError


class SetIndex:
    """Names each set of members by a number, and finds its place.

    Args:
        members: M of the pool.
        slots: most members of a set; one that stands in it twice counts twice.
        capacity: places.

    Raises:
        UserError: the sets are too many to be numbered.
    """

    def __init__(self, members: int, slots: int, capacity: int) -> None:
        if slots > most_slots(members):
            allowed = f"at most {most_slots(members)} slots are possible"
            raise UserError(f"method.slots={slots} is not allowed with {members} members; {allowed}")
        self.members, self.slots, self.capacity = members, slots, capacity
        self._keys = np.empty(0, dtype=np.int64)  # ascending, of the sets at hand
        self._places = np.empty(0, dtype=np.int64)  # where each of them lies
        self._used = np.zeros(capacity, dtype=np.int64)  # of each place, when it was asked for last
        self._clock = 0

    def keys_of(self, numbers: np.ndarray) -> np.ndarray:
        """One whole number for each set: int64 (S,), of member numbers (S, k), 1 to M and 0 for none, in any order."""
        keys = np.zeros(len(numbers), dtype=np.int64)
        for column in np.sort(numbers, axis=1).T:
            keys = keys * (self.members + 1) + column
        return keys

    def numbers_of(self, keys: np.ndarray) -> np.ndarray:
        """The member numbers of these sets, (S, slots), the larger ones first and 0 for none at the end."""
        base = self.members + 1
        return np.stack([keys // base**power % base for power in range(self.slots)], 1)

    def places_of(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The places (S,) of these sets, which hold until the next call; and the keys and places of new ones.

        At most `capacity` different sets can be asked for at a time.
        """
        self._clock += 1
        distinct, inverse = np.unique(keys, return_inverse=True)
        found = np.searchsorted(self._keys, distinct)
        known = found < len(self._keys)
        known[known] = self._keys[found[known]] == distinct[known]
        places = np.empty(len(distinct), dtype=np.int64)
        places[known] = self._places[found[known]]
        self._used[places[known]] = self._clock
        lacking = distinct[~known]
        free = self._room_for(len(lacking))
        if len(lacking):
            places[~known] = free
            self._used[free] = self._clock
            keys_now = np.concatenate([self._keys, lacking])
            order = np.argsort(keys_now)
            self._keys, self._places = keys_now[order], np.concatenate([self._places, free])[order]
        return places[inverse], lacking, free

    def _room_for(self, count: int) -> np.ndarray:
        """`count` places; what lay in them is forgotten."""
        held = len(self._keys)
        room = np.arange(held, min(self.capacity, held + count))
        if len(room) < count:
            self._used[room] = self._clock  # or, never used, they would be given away a second time
            oldest = np.argsort(self._used, kind="stable")[: count - len(room)]
            keep = ~np.isin(self._places, oldest)
            self._keys, self._places = self._keys[keep], self._places[keep]
            room = np.concatenate([room, oldest])
        return room


def most_slots(members: int) -> int:
    """The most members of a set whose number fits into 63 bits."""
    most = 1
    while most < MOST_MEMBERS and (members + 1) ** (most + 1) < 2**63:
        most += 1
    return most
