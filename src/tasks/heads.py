"""The outputs of a network: the logits of its main head and, in training, those of auxiliary heads."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from src.errors import UserError

# The weight of each auxiliary head's loss, from the GoogLeNet paper (Szegedy et al., 2015, section 5).
AUXILIARY_WEIGHT = 0.3


def main_output(outputs: Tensor | tuple) -> Tensor:
    """The logits (B, L) of a network that may return those of auxiliary heads after them."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def loss_of_heads(
    outputs: Tensor | tuple, loss: Callable[[Tensor], Tensor], num_classes: int, task: str, what: str
) -> Tensor:
    """The loss of the first head plus 0.3 times that of each other one; a head that is None is left out.

    Args:
        outputs: logits (B, num_classes), or a tuple of such.
        loss: of the logits of one head.
        task, what: the name of the task and of what its logits are of, for messages.

    Raises:
        UserError: some logits are not of shape (B, num_classes).
    """
    heads = [head for head in outputs if head is not None] if isinstance(outputs, (tuple, list)) else [outputs]
    for head in heads:
        _check(head, num_classes, task, what)
    total = loss(heads[0])
    for head in heads[1:]:
        total = total + AUXILIARY_WEIGHT * loss(head)
    return total


def _check(logits: Any, num_classes: int, task: str, what: str) -> None:
    if not isinstance(logits, Tensor):
        raise UserError(f"the network returns a {type(logits).__name__}; {task} needs logits, a tensor")
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise UserError(
            f"the network returns a tensor of shape {tuple(logits.shape)}, but the data has {num_classes}"
            f" {what}: it must be (batch, {num_classes}); check model.num_classes"
        )
