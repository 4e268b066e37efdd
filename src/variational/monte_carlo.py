"""Prediction by the mean over drawn networks, which is what a posterior over weights is for."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice, check_whole
from src.variational.conversion import variational_layers
from src.variational.layers import NOISES


class MonteCarlo(nn.Module):
    """The log of the mean of S softmaxes, each of a network with weights of its own: (B, C, H, W) -> (B, classes).

    Holds a copy of `network`, always in evaluation mode: removed weights are 0 in every draw. Noise comes from torch's
    global generator. One draw after the other, in the memory of one; to be exported there is
    `src.variational.parallel_monte_carlo`, as `torch.export` would write this network S times.

    Args:
        network: gives logits (B, classes); must have variational layers.
        samples: S (20 in the later code of VINNAS's first author).
        noise: "weights": one draw of the weights for the whole batch, as that code does; "local": local
            reparameterisation, an own draw for each example and position.

    Raises:
        UserError: a value that is not allowed, or a network without variational layers.
    """

    def __init__(self, network: nn.Module, samples: int = 20, noise: str = "weights") -> None:
        super().__init__()
        self.samples = check_whole("eval_samples", samples, 1)
        self.network = sampling(network, noise)

    def train(self, mode: bool = True) -> "MonteCarlo":
        """Stays in evaluation mode: in training mode the network would draw as it does for the loss."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        total = F.log_softmax(self.network(images).float(), dim=-1)
        for _ in range(self.samples - 1):
            total = torch.logaddexp(total, F.log_softmax(self.network(images).float(), dim=-1))
        return total - math.log(self.samples)


def sampling(network: nn.Module, noise: str) -> nn.Module:
    """A copy of `network` in evaluation mode whose variational layers draw; errors as `MonteCarlo` has them."""
    check_choice("eval_noise", noise, NOISES)
    made = copy.deepcopy(network).eval()
    layers = variational_layers(made).values()
    if not layers:
        raise UserError(
            f"{type(network).__name__} has no variational layers, so that there is nothing to draw; "
            "wrap the model in src.variational.conversion.variational"
        )
    for layer in layers:
        layer.sampled = noise
    return made
