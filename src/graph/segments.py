"""Width variables and how they are tied: union-find in which a variable may also be cut into parts.

A channel dimension is a tuple of segments `(variable, times)`: the channels of `variable`, each repeated `times` times
in a row. A convolution starts a variable; an addition unifies two dimensions; a concatenation joins their segments; a
flatten multiplies `times` by the number of positions. Of k equal parts of a variable each has `times` 1 / k: the first
part holds its first channels, and so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

Segments = tuple[tuple[int, int | Fraction], ...]


@dataclass
class Variable:
    """One integer width, today's size of it, and what limits its choice."""

    name: str
    size: int
    multiple: int = 1
    frozen: str | None = None  # why the width may not change; None if it may


class WidthVariables:
    """All width variables of one network."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self._parts: dict[int, Segments] = {}  # what an absorbed or cut variable stands for now

    def new(self, name: str, size: int, frozen: str | None = None) -> Segments:
        """A dimension of `size` channels that is one new variable."""
        self.variables.append(Variable(name, size, frozen=frozen))
        return ((len(self.variables) - 1, 1),)

    def resolve(self, segments: Segments) -> Segments:
        """`segments` in terms of the variables that are still independent."""
        resolved: list[tuple[int, int]] = []
        for variable, times in segments:
            if variable in self._parts:
                # each channel of a cut variable is repeated, so each channel of its parts is
                resolved += [(part, _whole(inner * times)) for part, inner in self.resolve(self._parts[variable])]
            else:
                resolved.append((variable, times))
        return tuple(resolved)

    def size(self, segments: Segments) -> int:
        return int(sum(self.variables[variable].size * times for variable, times in segments))

    def freeze(self, segments: Segments, reason: str) -> None:
        """No width in `segments` may change; the first reason is kept."""
        for variable, _ in self.resolve(segments):
            self.variables[variable].frozen = self.variables[variable].frozen or reason

    def demand_multiple(self, segments: Segments, multiple: int, reason: str) -> None:
        """The size of `segments` must stay a multiple of `multiple` (each segment is asked for it, which suffices)."""
        for variable, times in self.resolve(segments):
            entry = self.variables[variable]
            wanted = lcm(entry.multiple, (Fraction(multiple) / times).numerator)
            if entry.size % wanted:
                self.freeze(((variable, 1),), reason)
            else:
                entry.multiple = wanted

    def unify(self, left: Segments, right: Segments, reason: str) -> None:
        """Makes two dimensions of equal size the same, cutting the longer segment where borders do not meet.

        Where they cannot be made equal (different repetitions), both stay as they are for good, with `reason`.
        """
        a, b = list(self.resolve(left)), list(self.resolve(right))
        while a and b:
            (u, times_u), (v, times_v) = a[0], b[0]
            if (u, times_u) == (v, times_v):
                a, b = a[1:], b[1:]
                continue
            if u == v or not self._merge(u, times_u, v, times_v):
                self.freeze((*a, *b), reason)
                return
            a, b = list(self.resolve(tuple(a))), list(self.resolve(tuple(b)))

    def equal_parts(self, segments: Segments, count: int) -> Segments | None:
        """Cuts a dimension into `count` parts that are tied to each other; returns one part, None if they cannot be.

        Only sizes are exact here: after a channel shuffle a part holds channels of all parts.
        """
        segments = self.resolve(segments)
        if self.size(segments) % count:
            return None
        if len(segments) == 1 and segments[0][1] % count == 0:
            return ((segments[0][0], segments[0][1] // count),)
        if len(segments) == 1 and segments[0][1] == 1:
            variable = segments[0][0]
            part = self._cut_equally(variable, count)
            return ((part, 1),)
        parts, rest, size = [], list(segments), self.size(segments) // count
        for _ in range(count):
            part: list[tuple[int, int]] = []
            while rest and self.size(tuple(part)) < size:
                part.append(rest.pop(0))
            if self.size(tuple(part)) != size:
                return None
            parts.append(tuple(part))
        for other in parts[1:]:
            self.unify(parts[0], other, "the parts of a split must stay equal")
        return self.resolve(parts[0])

    def equal_whole(self, parts: Sequence[Segments]) -> Segments | None:
        """The opposite: one new variable of which `parts`, variables of one size, are the equal parts; None if not."""
        parts = [self.resolve(part) for part in parts]
        if any(len(part) > 1 or part[0][1] != 1 for part in parts):
            return None
        variables = [part[0][0] for part in parts]
        sizes = {self.variables[variable].size for variable in variables}
        if len(sizes) > 1 or len(set(variables)) < len(variables):
            return None
        whole = self.new(self.variables[variables[0]].name, sizes.pop() * len(variables))
        self.demand_multiple(whole, len(variables), "it has equal parts")
        for variable in variables:
            self._absorb(variable, ((whole[0][0], Fraction(1, len(variables))),))
        return whole

    def _cut_equally(self, variable: int, count: int) -> int:
        entry = self.variables[variable]
        multiple = entry.multiple // gcd(entry.multiple, count)
        self.variables.append(Variable(entry.name, entry.size // count, multiple, entry.frozen))
        part = len(self.variables) - 1
        self._parts[variable] = ((part, 1),) * count
        return part

    def _merge(self, u: int, times_u: int, v: int, times_v: int) -> bool:
        """Makes the first channels of two segments the same; False if nothing can."""
        first, second = self.variables[u], self.variables[v]
        if times_u != times_v:
            # one channel of the finer variable against several: the coarse one is a repetition of the fine one
            if first.size * times_u != second.size * times_v:
                return False
            if max(times_u, times_v) % min(times_u, times_v):
                return False
            (coarse, fine, factor) = (u, v, times_v // times_u) if times_u < times_v else (v, u, times_u // times_v)
            self._absorb(coarse, ((fine, factor),))
            return True
        if first.size == second.size:
            older, younger = (u, v) if u < v else (v, u)
            self._absorb(younger, ((older, 1),))
            return True
        longer, shorter = (u, v) if first.size > second.size else (v, u)
        entry = self.variables[longer]
        rest = entry.size - self.variables[shorter].size
        self.variables.append(Variable(f"{entry.name}.rest", rest, entry.multiple, entry.frozen))
        self._absorb(longer, ((shorter, 1), (len(self.variables) - 1, 1)))
        return True

    def _absorb(self, variable: int, parts: Segments) -> None:
        """`variable` stands for `parts` from now on, and hands its limits to them."""
        entry = self.variables[variable]
        self._parts[variable] = parts
        if entry.frozen:
            self.freeze(parts, entry.frozen)
        if entry.multiple > 1:
            self.demand_multiple(parts, entry.multiple, f"its width must stay a multiple of {entry.multiple}")


def _whole(times: int | Fraction) -> int | Fraction:
    return int(times) if times == int(times) else times
