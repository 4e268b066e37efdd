"""Cascades of sub-nets by what each sub-net said of the validation images, none of which is run twice."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.pool import Member, Pool
from src.cascades.thresholds import ThresholdGrid
from src.evolution.budget import keys
from src.evolution.joint_rows import THRESHOLDS, JointRows

_MEMORY = 2**30  # bytes, of tables


class SubnetOutputs(NamedTuple):
    """error: percent. softmax: float16 (N, C). macs, params: whole numbers. seconds: of its evaluation."""

    error: float
    softmax: NDArray
    macs: int
    params: int
    seconds: float


class CascadeValue(NamedTuple):
    """error: percent. macs: on average. errors: of the K sub-nets alone.

    seconds: of the evaluation of those that no cascade before this one has.
    """

    error: float
    macs: float
    params: int
    errors: tuple[float, ...]
    seconds: float


class JointCascades:
    """Evaluates joint rows.

    Args:
        layout: of the rows.
        outputs: by number of the super-net and key of the sub-net's row.
        labels: (N,) the true classes.
    """

    def __init__(self, layout: JointRows, outputs: Mapping[tuple[int, bytes], SubnetOutputs], labels: NDArray) -> None:
        self.layout = layout
        self.outputs = list(outputs.values())
        self.numbers = {key: number for number, key in enumerate(outputs)}
        members = [Member(str(number), own.macs, own.params) for number, own in enumerate(self.outputs)]
        pool = Pool(members, labels, [own.softmax for own in self.outputs])
        self.evaluator = CascadeEvaluator(pool, layout.nets, ThresholdGrid(len(THRESHOLDS) + 1), _MEMORY)

    def measured(self, rows: NDArray) -> list[CascadeValue]:
        """Of rows (n, d), with each sub-net charged once and the parameters of all members."""
        parts, positions, thresholds = self.layout.split(rows)
        order = self.layout.order(positions)
        numbers = np.array(
            [[self.numbers[number, key] for key in keys(part)] for number, part in enumerate(parts)]
        ).T  # (n, K), by super-net
        in_order = np.take_along_axis(numbers, order, 1)
        levels = np.take_along_axis(thresholds, order, 1)[:, :-1] + 1  # of a grid that begins with 0
        objectives = self.evaluator.objectives(
            np.concatenate([in_order + 1, levels], axis=1), ("error", "macs", "params")
        )
        values, charged = [], set()
        for (error, macs, params), own in zip(objectives.tolist(), numbers.tolist(), strict=True):
            errors = tuple(self.outputs[number].error for number in own)
            seconds = sum(self.outputs[number].seconds for number in own if number not in charged)
            charged.update(own)
            values.append(CascadeValue(error, macs, round(params), errors, seconds))
        return values
