"""What a variational network leaves: parameters that are not zero once the weights that are not live are removed.

A weight of a variational layer counts where it is live and its mean is not 0, any other parameter where it is not 0.
log_sigma2 is never counted: it is gone when training ends.
"""

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from src.variational.layers import VariationalLayer


@torch.no_grad()
def nonzero_parameters(model: nn.Module) -> int:
    """The parameters of `model` that are not zero, norms and biases too; what several modules share counts once."""
    seen: set[int] = set()
    total = 0
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name != "log_sigma2" and id(parameter) not in seen:
                seen.add(id(parameter))
                total += _nonzero(module, name)
    return total


@torch.no_grad()
def layer_sparsity(model: nn.Module) -> list[tuple[str, int, int]]:
    """(path, weights, weights that are not zero) of each convolution and linear layer, without biases."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, (_ConvNd, nn.Linear))}
    return [(name, layer.weight.numel(), _nonzero(layer, "weight")) for name, layer in layers.items()]


def _nonzero(module: nn.Module, name: str) -> int:
    values = getattr(module, name)
    if isinstance(module, VariationalLayer) and name == "weight":
        values = values * module.live()
    return int(values.count_nonzero())
