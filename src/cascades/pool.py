"""The pool: trained networks by what they say of the same samples, and what each of them costs (ENCAS).

A search over cascades runs no network. Of each member it needs the class probabilities of all samples, kept in half
precision as the published pools are, and the cost of one answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.errors import UserError, check_choice, check_text

COSTS = ("macs", "latency", "params")  # what a member may cost; latency in milliseconds
COST_FIELDS = {"macs": "macs", "latency": "latency_ms", "params": "params"}


@dataclass(frozen=True)
class Member:
    """One trained network of a pool.

    Args:
        name: by which messages, tables and files call it; no two members of a pool share one.
        macs: multiply-accumulates of one image. Of a cascade as a member: the average over the samples it was judged
            by.
        params: number of parameters; None where it is not known.
        latency_ms: of one answer, measured; None where it was not.
        config: its model config (`_target_` plus plain arguments); None where only its outputs are known.
        weights: the file with its state dict.

    Raises:
        UserError: a cost that is no positive number, or an empty name.
    """

    name: str
    macs: float
    params: float | None = None
    latency_ms: float | None = None
    config: dict[str, Any] | None = field(default=None, compare=False)
    weights: str | None = None

    def __post_init__(self) -> None:
        check_text("the name of a member", self.name)
        for name in ("macs", "params", "latency_ms"):
            value = getattr(self, name)
            if value is None and name != "macs":
                continue
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not 0 < value < np.inf:
                raise UserError(f"member {self.name}: {name} is {value!r}; a cost must be a number above 0")
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Pool:
    """M members, and what they say of N samples of C classes.

    Args:
        members: M of them.
        labels: the true classes, int64 (N,).
        outputs: of each member the softmax in half precision, float16 (N, C); may be memory-mapped.
        gaps: of each member the largest logit less the second largest, float16 (N,); None where nobody needs them.
        sample_macs: of each member what each sample cost, float64 (N,), or None where that is always its `macs`.

    Raises:
        UserError: no member, two of one name, or shapes and types that do not fit. Values are not looked at here:
            `src.cascades.stored_outputs.check_outputs` does that once, when they are taken in.
    """

    members: tuple[Member, ...]
    labels: np.ndarray
    outputs: Sequence[np.ndarray]
    gaps: Sequence[np.ndarray] | None = None
    sample_macs: Sequence[np.ndarray | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members:
            raise UserError("the pool is empty: a cascade needs one member at least")
        check_names([member.name for member in self.members])
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
            raise UserError(f"the labels of a pool must be whole numbers (N,), not {labels.dtype} {labels.shape}")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        if len(self.outputs) != len(self.members) or (self.gaps is not None and len(self.gaps) != len(self.members)):
            raise UserError(f"a pool of {len(self.members)} members needs the outputs (and gaps) of each of them")
        shape = (len(labels), self.outputs[0].shape[-1])
        for member, output in zip(self.members, self.outputs, strict=True):
            if output.dtype != np.float16 or output.shape != shape:
                raise UserError(
                    f"member {member.name}: its outputs are {output.dtype} {output.shape}, and those of this pool are "
                    f"float16 {shape}"
                )
        for member, gap in zip(self.members, self.gaps or (), strict=self.gaps is not None):
            if gap.shape != shape[:1]:
                raise UserError(f"member {member.name}: its logit gaps are {gap.shape}, not {shape[:1]}")

    def __len__(self) -> int:
        return len(self.members)

    @property
    def samples(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def classes(self) -> int:
        """C."""
        return self.outputs[0].shape[1]

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    def costs(self, name: str = "macs") -> np.ndarray:
        """What one answer of each member costs, float64 (M,): "macs", "latency" (milliseconds) or "params".

        Raises `UserError` that names a member of which it is not known.
        """
        key = COST_FIELDS[check_choice("method.objectives", name, COSTS)]
        values = [getattr(member, key) for member in self.members]
        unknown = next((m.name for m, value in zip(self.members, values, strict=True) if value is None), None)
        if unknown is not None:
            raise UserError(f"member {unknown} has no {key}, which the objective {name} needs")
        return np.array(values, dtype=np.float64)

    def part(self, which: slice | np.ndarray) -> "Pool":
        """The pool on some of the samples. A slice copies no outputs, an array of indices does."""
        gaps = None if self.gaps is None else [gap[which] for gap in self.gaps]
        macs = None
        if self.sample_macs is not None:
            macs = [None if own is None else own[which] for own in self.sample_macs]
        return Pool(self.members, self.labels[which], [output[which] for output in self.outputs], gaps, macs)

    def chosen(self, members: Sequence[int]) -> "Pool":
        """The pool of some of its members, by their indices."""
        gaps = None if self.gaps is None else [self.gaps[m] for m in members]
        macs = None if self.sample_macs is None else [self.sample_macs[m] for m in members]
        return Pool([self.members[m] for m in members], self.labels, [self.outputs[m] for m in members], gaps, macs)

    def errors(self) -> np.ndarray:
        """Of each member alone the error in percent, float64 (M,)."""
        wrong = [np.count_nonzero(np.argmax(output, axis=1) != self.labels) for output in self.outputs]
        return 100 * np.array(wrong, dtype=np.float64) / self.samples


def check_names(names: Sequence[str]) -> None:
    """Raises `UserError` where two members have one name."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise UserError(f"two members of the pool are called {twice}: give each a name of its own")


def check_same_samples(name: str, labels: np.ndarray, first: str, expected: np.ndarray) -> None:
    """Raises `UserError` where member `name` was judged by other samples than `first`; says what differs."""
    if len(labels) != len(expected):
        raise UserError(
            f"member {name} has {len(labels)} samples and {first} has {len(expected)}: they must be the same"
        )
    different = np.flatnonzero(labels != expected)
    if not len(different):
        return
    at = int(different[0])
    if np.array_equal(np.sort(labels), np.sort(expected)):
        raise UserError(
            f"member {name} has the samples in another order than {first}: the same labels stand in other places, from "
            f"sample {at} on"
        )
    raise UserError(
        f"member {name} has other labels than {first}: of {len(labels)} samples {len(different)} differ, the first is "
        f"number {at} with {int(labels[at])} against {int(expected[at])}"
    )
