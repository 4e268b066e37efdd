"""The stages of a HourNAS search: which blocks are searched in each, and which are there at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

VITAL, REST, JOINT = "vital blocks", "other blocks", "all blocks"


@dataclass(frozen=True)
class Stage:
    """`epochs` epochs from epoch `begin` on; `hard`: a step runs one operation of each block, not all of them mixed."""

    name: str
    begin: int
    epochs: int
    hard: bool

    @property
    def end(self) -> int:
        return self.begin + self.epochs


def stages_of(vital: Sequence[bool], priority: bool, first: Stage, second: Stage) -> tuple[Stage, ...]:
    """The stages `first` and `second`, as far as they last; without priority one of all blocks for as long as both.

    Where all blocks are vital, or none is, there is nothing to put first; where all are, steps are those of `first`.
    """
    if not priority or len(set(vital)) < 2 or not first.epochs or not second.epochs:
        return (Stage(JOINT, 0, first.epochs + second.epochs, first.hard if all(vital) else second.hard),)
    return first, second


def options_in(stage: Stage, vital: Sequence[bool], allowed: Tensor, fixed: Mapping[int, int]) -> list[list[int]]:
    """Of each block the operations that the super-net of a stage holds: none where the block is left out.

    fixed: what earlier stages have decided, of block numbers operations.
    """
    options = []
    for block, row in enumerate(allowed):
        own = row.nonzero()[:, 0].tolist()
        if block in fixed:
            own = [fixed[block]]
        elif stage.name == VITAL and not vital[block]:
            own = []
        options.append(own)
    return options
