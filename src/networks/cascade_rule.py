"""The rule of a cascade (ENCAS), as functions of what its members say about a batch of images.

p_m is the softmax of member m, rounded to half precision as stored outputs are. q_j is the mean of p_1 ... p_j: sums of
half values are exact in float64, and their quotient by j is rounded once to float32. An image goes on to member j + 1
where the largest class probability max_c q_j is at most the threshold t_j, an exact tie included; else it leaves, with
the first class of largest q_j.
"""

import torch
from torch import Tensor

# Stands for a mean of 0, whose logarithm is no number. Rounded to half precision it is 0 again, and it is smaller than
# the mean of one smallest half number, 2^-24, and 65,000 zeros.
SMALLEST = 2.0**-40


def half_softmax(outputs: Tensor | tuple) -> Tensor:
    """p_m, float16 (B, C): of logits (B, C) in any precision, or of a tuple with them first (auxiliary heads)."""
    logits = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
    return logits.float().softmax(1).half()


def mean(total: Tensor, members: int) -> Tensor:
    """q, float32, of the float64 sum of the p of so many members; rounded once.

    A quotient of such a sum is too far from the middle of two float32 numbers for its float64 to fall on it.
    """
    return (total / members).float()


def undecided(q: Tensor, threshold: float) -> Tensor:
    """Which images go on: means (B, C) to booleans (B,). A NaN does not."""
    return q.amax(1) <= threshold


def log_means(q: Tensor) -> Tensor:
    """log q, float32 (B, C), finite, with the argmax of q.

    The logarithms of two means that differ in their last bits may be one number: those of classes that have not the
    largest mean are kept below that of the one that has.
    """
    logs = q.clamp_min(SMALLEST).log()
    largest = q.amax(1, keepdim=True)
    below = largest.log() * (1 + 2.0**-22)
    return torch.where(q < largest, torch.minimum(logs, below), logs)
