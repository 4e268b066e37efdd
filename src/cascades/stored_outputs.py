"""What a network said of its samples: softmax in half precision and logit gaps, checked before they join a pool."""

from dataclasses import dataclass

import numpy as np

from src.errors import UserError

SUM_TOLERANCE = 1e-2  # of a row of probabilities: they may come in a coarse format, bfloat16 say
_HALF_MOST = float(np.finfo(np.float16).max)
_TOGETHER = 2**24  # numbers that are worked on at once, so that a member of any size needs little memory


@dataclass(frozen=True)
class Outputs:
    """labels: int64 (N,); softmax: float16 (N, C); gaps: float16 (N,), the largest logit less the second largest; macs:
    float64 (N,), of a member that does not spend the same on every sample."""

    labels: np.ndarray
    softmax: np.ndarray
    gaps: np.ndarray
    macs: np.ndarray | None = None

    def part(self, rows: slice) -> "Outputs":
        """Of some of the samples."""
        return Outputs(self.labels[rows], self.softmax[rows], self.gaps[rows])


def outputs_of_logits(name: str, labels: np.ndarray, logits: np.ndarray) -> Outputs:
    """Of logits (N, C), in float32; raises `UserError` that names the member `name` where they cannot be used."""
    labels = _checked(name, labels, logits, "logits")
    softmax, gaps = np.empty(logits.shape, np.float16), np.empty(len(logits), np.float16)
    for rows in _blocks(logits):
        block = np.asarray(logits[rows], dtype=np.float32)
        _check_finite(name, block, rows.start, "logits")
        softmax[rows], gaps[rows] = softmax_of(block).astype(np.float16), _halved(top_gap(block))
    return Outputs(labels, softmax, gaps)


def outputs_of_softmax(name: str, labels: np.ndarray, softmax: np.ndarray) -> Outputs:
    """Of probabilities (N, C); the gap of the logits is log p1 - log p2, as far as half precision reaches.

    What is above 1, in a row whose sum is 1 only about, becomes 1: else a mean could be above a threshold of 1, at
    which no image is to leave.
    """
    labels = _checked(name, labels, softmax, "softmax")
    halves, gaps = np.empty(softmax.shape, np.float16), np.empty(len(softmax), np.float16)
    for rows in _blocks(softmax):
        block = np.asarray(softmax[rows], dtype=np.float32)
        check_outputs(name, block, rows.start)
        block = np.minimum(block, 1)
        with np.errstate(divide="ignore"):
            gaps[rows] = _halved(top_gap(np.log(block)))
        halves[rows] = block.astype(np.float16)
    return Outputs(labels, halves, gaps)


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """Softmax of the rows of logits (N, C), in float32."""
    logits = np.asarray(logits, dtype=np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def top_gap(values: np.ndarray) -> np.ndarray:
    """Of each row of (N, C) the largest value less the second largest, (N,); of one class infinity."""
    if values.shape[1] < 2:
        return np.full(len(values), np.inf, values.dtype)
    top = np.partition(values, -2, axis=1)
    return top[:, -1] - top[:, -2]


def check_outputs(name: str, softmax: np.ndarray, first: int = 0) -> None:
    """Raises `UserError` where rows of probabilities (N, C) are not finite, negative, or do not sum to 1.

    first: the number of the first sample, for the message.
    """
    _check_finite(name, softmax, first, "softmax")
    negative = np.flatnonzero((softmax < 0).any(axis=1))
    if len(negative):
        raise UserError(f"member {name}: its softmax has negative values, first at sample {first + int(negative[0])}")
    sums = softmax.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(abs(sums - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise UserError(
            f"member {name}: its softmax does not sum to 1, first at sample {first + int(wrong[0])} with "
            f"{sums[wrong[0]]:.4g}; give logits as logits"
        )


def _check_finite(name: str, values: np.ndarray, first: int, what: str) -> None:
    odd = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(odd):
        raise UserError(f"member {name}: its {what} hold NaN or infinity, first at sample {first + int(odd[0])}")


def _checked(name: str, labels: np.ndarray, values: np.ndarray, what: str) -> np.ndarray:
    """The labels as int64; raises `UserError` where shapes, types or classes are none."""
    if values.ndim != 2 or values.dtype.kind != "f" or not values.size:
        raise UserError(f"member {name}: {what} must be numbers (N, C), not {values.dtype} {values.shape}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"member {name}: labels must be whole numbers (N,), not {labels.dtype} {labels.shape}")
    if len(labels) != len(values):
        raise UserError(f"member {name}: it has {len(values)} rows of {what} and {len(labels)} labels")
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= values.shape[1]:
        wrong = least if least < 0 else most
        raise UserError(
            f"member {name}: its labels hold {wrong}, and with {values.shape[1]} classes they must be from 0 to "
            f"{values.shape[1] - 1}"
        )
    return labels.astype(np.int64)


def _halved(gaps: np.ndarray) -> np.ndarray:
    """As half precision; a gap beyond its range, of a probability that is 0 say, becomes its largest number."""
    return np.minimum(np.nan_to_num(gaps, nan=_HALF_MOST, posinf=_HALF_MOST), _HALF_MOST).astype(np.float16)


def _blocks(values: np.ndarray):
    step = max(1, _TOGETHER // values.shape[1])
    return (slice(start, min(start + step, len(values))) for start in range(0, len(values), step))
