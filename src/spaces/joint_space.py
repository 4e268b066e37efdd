"""Cascades of one sub-net of each of several super-nets as a search space (ENCAS-joint, section 2.10)."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.evolution.joint_rows import THRESHOLDS, JointRows
from src.networks.cascade import Cascade
from src.spaces.space import Genotype
from src.spaces.subnet_space import SubnetSpace

_CASCADE = f"{Cascade.__module__}.{Cascade.__qualname__}"


class Member(NamedTuple):
    """A sub-net: the number of its super-net, from 0, and its row (d_k,) as a tuple."""

    supernet: int
    row: tuple[int, ...]


class JointSpace:
    """Joint rows (n, d), whose layout stands in `JointRows`, and the cascades that they mean.

    A genotype is `{"members": [{"supernet": name, "subnet": genotype}, ...], "thresholds": [...]}`: the members in
    their order, and a threshold, 0.1 to 1, between each two.

    Args:
        names: of the super-nets, K of them.
        spaces: of each of them.
    """

    def __init__(self, names: Sequence[str], spaces: Sequence[SubnetSpace]) -> None:
        self.names, self.spaces = list(names), list(spaces)
        self.layout = JointRows([space.alphabet for space in spaces])
        self.alphabet = self.layout.alphabet

    # rows

    def canonical(self, rows: NDArray) -> NDArray:
        """One row for all rows (n, d) that mean the same cascade."""
        return self.layout.canonical(rows, [space.canonical for space in self.spaces])

    def subnets(self, rows: NDArray) -> list[NDArray]:
        """The rows (n, d_k) of each super-net's sub-nets."""
        return self.layout.split(rows)[0]

    def macs_of(self, rows: NDArray) -> NDArray:
        """MACs int64 (n, K) of the sub-nets of rows (n, d), each alone."""
        parts = self.subnets(rows)
        return np.stack([space.macs_of(part) for space, part in zip(self.spaces, parts, strict=True)], axis=1)

    def arranged(self, parts: Sequence[NDArray], generator: np.random.Generator) -> NDArray:
        """Canonical rows of sub-nets, K times (n, d_k), in random order and with random thresholds."""
        shape = (len(parts[0]), self.layout.nets)
        positions = generator.integers(self.layout.nets, size=shape)
        levels = generator.integers(len(THRESHOLDS), size=shape)
        return self.canonical(self.layout.joined(parts, positions, levels))

    def uniform(self, count: int, generator: np.random.Generator) -> NDArray:
        """Canonical rows (count, d) of random sub-nets, orders and thresholds."""
        return self.arranged([space.uniform(count, generator) for space in self.spaces], generator)

    # rows and genotypes

    def genotype(self, row: NDArray) -> Genotype:
        """What a row (d,) means."""
        thresholds = self.layout.split(row[None])[2][0]
        members = self._in_order(row)
        return {
            "members": [
                {"supernet": self.names[number], "subnet": self.spaces[number].genotype(np.array(own))}
                for number, own in members
            ],
            "thresholds": [float(THRESHOLDS[thresholds[member.supernet]]) for member in members[:-1]],
        }

    def row(self, genotype: Mapping[str, Any]) -> NDArray:
        """The canonical row (d,) of a genotype."""
        count = self.layout.nets
        parts, positions, levels = [None] * count, np.zeros((1, count), int), np.zeros((1, count), int)
        for place, member in enumerate(genotype["members"]):
            number = self.names.index(member["supernet"])
            parts[number] = self.spaces[number].row(member["subnet"])[None]
            positions[0, number] = count - 1 - place
            if place < count - 1:
                levels[0, number] = np.abs(THRESHOLDS - genotype["thresholds"][place]).argmin()
        return self.canonical(self.layout.joined(parts, positions, levels))[0]

    def rows(self, genotypes: Sequence[Mapping[str, Any]]) -> NDArray:
        """The canonical rows (n, d) of genotypes, or of none."""
        return np.array([self.row(own) for own in genotypes], dtype=np.int64).reshape(-1, len(self.alphabet))

    # members

    def _in_order(self, row: NDArray) -> list[Member]:
        parts, positions, _ = self.layout.split(row[None])
        order = self.layout.order(positions)[0].tolist()
        return [Member(number, tuple(parts[number][0].tolist())) for number in order]

    def name(self, member: Member) -> str:
        """A short name of a sub-net, the same in every run."""
        return f"{self.names[member.supernet]}-{hashlib.blake2b(repr(member.row).encode(), digest_size=4).hexdigest()}"

    def member_config(self, member: Member) -> dict[str, Any]:
        """The model config of a sub-net."""
        space = self.spaces[member.supernet]
        return space.config(space.genotype(np.array(member.row)))

    def member_costs(self, member: Member) -> tuple[int, int]:
        """MACs and parameters of a sub-net."""
        space, rows = self.spaces[member.supernet], np.array([member.row])
        return int(space.macs_of(rows)[0]), int(space.params_of(rows)[0])

    def members_of(self, genotype: Mapping[str, Any]) -> dict[str, Member]:
        """The members of a genotype by name, in their order; it may have fewer than K."""
        found = {}
        for own in genotype["members"]:
            number = self.names.index(own["supernet"])
            member = Member(number, tuple(self.spaces[number].row(own["subnet"]).tolist()))
            found[self.name(member)] = member
        return found

    def single(self, member: Member) -> Genotype:
        """The genotype of a sub-net that answers alone."""
        subnet = self.spaces[member.supernet].genotype(np.array(member.row))
        return {"members": [{"supernet": self.names[member.supernet], "subnet": subnet}], "thresholds": []}

    def config(self, genotype: Mapping[str, Any]) -> dict[str, Any]:
        """The model config of a cascade; it may have fewer members than K."""
        members = self.members_of(genotype)
        return {
            "_target_": _CASCADE,
            "members": [self.member_config(member) for member in members.values()],
            "thresholds": list(genotype["thresholds"]),
            "names": list(members),
            "macs": [self.member_costs(member)[0] for member in members.values()],
        }
