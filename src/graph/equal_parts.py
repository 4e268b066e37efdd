"""A concatenation whose parts must keep equal widths.

What follows a `torch.cat` may let each part have a width of its own. A network whose parts are halves of one width by
construction (a factorised reduce) says so by joining them here; the channel graph then finds one width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function


def cat_equal(tensors: Sequence[Tensor], dim: int = 1) -> Tensor:
    """`torch.cat` of tensors of one shape, along the channels; one op in a trace by torch.fx."""
    if has_torch_function(tuple(tensors)):
        return handle_torch_function(cat_equal, tuple(tensors), tensors, dim=dim)
    return torch.cat(tensors, dim=dim)
