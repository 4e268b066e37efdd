"""Monte-Carlo prediction with all S draws at once: one graph, whose size does not grow with S, to be exported.

The images are repeated S times along the batch, draw by draw, and run through the network together. That is enough for
the noise of local reparameterisation. Where the weights are drawn, each part of the batch needs weights of its own:
convolutions become grouped ones, of S times the groups, and linear layers batched products. `torch.func.vmap` would
make the same of them, but fixes the size of the batch when it is exported.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import check_whole
from src.variational.conversion import deterministic, replaced, variational_layers
from src.variational.layers import VariationalLayer
from src.variational.monte_carlo import sampling


class ParallelMonteCarlo(nn.Module):
    """What `MonteCarlo` gives, in distribution: (B, C, H, W) -> (B, classes), in the memory of S batches.

    The network has to treat images one by one, as all do in evaluation mode. What `torch.export` makes of it, for any
    B, draws anew in each call. Arguments and errors are those of `MonteCarlo`.
    """

    def __init__(self, network: nn.Module, samples: int = 20, noise: str = "weights") -> None:
        super().__init__()
        self.samples = check_whole("eval_samples", samples, 1)
        self.network = sampling(network, noise)
        if noise == "weights":
            layers = variational_layers(self.network).values()
            self.network = replaced(self.network, {layer: _DrawnLayer(layer, samples) for layer in layers})

    def train(self, mode: bool = True) -> "ParallelMonteCarlo":
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        repeated = images.expand(self.samples, *images.shape).flatten(0, 1)
        logits = self.network(repeated).unflatten(0, (self.samples, images.shape[0]))
        return F.log_softmax(logits.float(), dim=-1).logsumexp(dim=0) - math.log(self.samples)


class _DrawnLayer(nn.Module):
    """A variational layer for S B inputs, draw by draw, each draw with weights of its own."""

    def __init__(self, layer: VariationalLayer, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.plain = deterministic(layer)
        self.register_buffer("deviation", ((0.5 * layer.log_sigma2).exp() * layer.live()).detach())
        self.convolves = isinstance(layer, nn.Conv2d)
        if self.convolves:
            self.plain.groups *= samples

    def forward(self, x: Tensor) -> Tensor:
        theta, bias = self.plain.weight, self.plain.bias
        noise = torch.randn(self.samples, *theta.shape, dtype=theta.dtype, device=theta.device)
        weights = theta + self.deviation * noise
        parts = x.unflatten(0, (self.samples, x.shape[0] // self.samples))
        if self.convolves:
            # the draws lie side by side as groups of channels: (S, B, I, H, W) -> (B, S I, H, W)
            groups = parts.transpose(0, 1).flatten(1, 2)
            bias = None if bias is None else bias.repeat(self.samples)
            out = self.plain._conv_forward(groups, weights.flatten(0, 1), bias)
            return out.unflatten(1, (self.samples, -1)).transpose(0, 1).flatten(0, 1)
        rows = parts.flatten(1, -2)
        out = rows @ weights.transpose(1, 2)
        out = out if bias is None else out + bias
        return out.reshape(*x.shape[:-1], theta.shape[0])
