"""Training of variational weights: the weight of the KL over time, and the gradient of the KL on flat tensors.

    loss = cross entropy (mean of a batch) + gamma(t) / N * sum over weights of KL,   N training images

as in sparse VD, with a factor gamma that grows from 0. That VINNAS trains the weights of a found network in these
phases (warm-up, ramp, full, masked fine-tuning) is reconstructed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_range
from src.variational.kl import EPS, SLOPES, kl_named, log_alpha
from src.variational.layers import VariationalLayer

WARM_UP, RAMP, FULL, FINE_TUNING = "warm-up", "KL ramp", "full KL", "masked fine-tuning"


@dataclass(frozen=True)
class Phases:
    """The first epochs, counted from 0, of the ramp, of the full KL and of the masked fine-tuning, of `epochs` in all.

    A phase without an epoch has the first epoch of the next one; without fine-tuning its first epoch is `epochs`.
    """

    ramp: int
    full: int
    fine_tuning: int
    epochs: int

    def name(self, epoch: int) -> str:
        """The phase of an epoch."""
        if self.fine_tuning <= epoch and self.fine_tuning < self.epochs:
            return FINE_TUNING
        return FULL if epoch >= self.full else RAMP if epoch >= self.ramp else WARM_UP

    def factor(self, position: float) -> float:
        """gamma(t) / gamma, from 0 to 1, at a position in epochs: 3.5 is the middle of the fourth."""
        if position < self.ramp or self.name(int(position)) == FINE_TUNING:
            return 0.0
        return 1.0 if position >= self.full else (position - self.ramp) / (self.full - self.ramp)


def phases(epochs: int, warmup: float, ramp: float, finetune: float, where: str = "variational_training") -> Phases:
    """The phases of a training: shares of its epochs, rounded to whole ones, the rest is the full KL.

    Raises:
        UserError: a share that is not from 0 to 1, or shares of more than 1 in all.
    """
    shares = {"warmup": warmup, "ramp": ramp, "finetune": finetune}
    for name, share in shares.items():
        check_range(f"{where}.{name}", share, 0, 1)
    if sum(shares.values()) > 1 + 1e-9:
        told = ", ".join(f"{name}={share}" for name, share in shares.items())
        raise UserError(f"{where}: {told} are more than 1 in all; they are shares of one training")
    first = round(warmup * epochs)
    last = epochs - round(finetune * epochs)
    return Phases(first, min(max(first, round((warmup + ramp) * epochs)), last), last, epochs)


def kl_gradients(theta: Tensor, log_sigma2: Tensor, kept: Tensor, kl: str = "ard") -> tuple[Tensor, Tensor]:
    """The gradients of the sum of the KL over the `kept` weights, in theta and in log sigma^2; flat (n,), float32.

    log alpha = log sigma^2 - log(theta^2 + eps), so both follow from one derivative in log alpha.
    """
    theta, log_sigma2 = theta.detach().float(), log_sigma2.detach().float()
    square = theta.square().add_(EPS)
    slope = SLOPES[check_choice("kl", kl, SLOPES)](log_sigma2 - square.log()).mul_(kept)
    return torch.div(theta, square).mul_(slope).mul_(-2), slope


@torch.no_grad()
def kl_sum(theta: Tensor, log_sigma2: Tensor, kept: Tensor, kl: str = "ard") -> Tensor:
    """The sum of the KL over the `kept` weights, in nats."""
    return (kl_named(kl)(log_alpha(theta.float(), log_sigma2.float())) * kept).sum()


@torch.no_grad()
def add_kl(layers: Sequence[VariationalLayer], kl: str, weight: float, theta_scale: float = 1.0) -> None:
    """Adds `weight` times the gradient of the KL to the gradients that these layers have, of theta `theta_scale` times.

    In one pass over all of them; a parameter without a gradient gets none.
    """
    thetas, rates = [layer.weight for layer in layers], [layer.log_sigma2 for layer in layers]
    gradients = kl_gradients(flat(thetas), flat(rates), flat([layer.kept for layer in layers]), kl)
    for parameters, gradient, scale in zip((thetas, rates), gradients, (theta_scale, 1.0), strict=True):
        parts = gradient.split([p.numel() for p in parameters])
        pairs = [(p.grad, part) for p, part in zip(parameters, parts, strict=True) if p.grad is not None]
        added = [part.view(own.shape).to(own.dtype) for own, part in pairs]
        torch._foreach_add_([own for own, _ in pairs], added, alpha=weight * scale)


def kl_of(layers: Sequence[VariationalLayer], kl: str) -> Tensor:
    """The sum of the KL over all kept weights of these layers, in nats."""
    tensors = [(layer.weight, layer.log_sigma2, layer.kept) for layer in layers]
    return kl_sum(*(flat(parts) for parts in zip(*tensors, strict=True)), kl)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor (n,) of them all, without gradient."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


@torch.no_grad()
def log_sigma2_of(log_alpha: Tensor, theta: Tensor, threshold: float | Tensor) -> Tensor:
    """log sigma^2 of weights that have moved to `theta` while log alpha stayed, and stays below the threshold.

    Masked fine-tuning keeps the relative noise of each weight: those that were kept remain live, and Monte-Carlo
    prediction is defined after it.
    """
    return log_alpha.clamp_max(threshold - 1e-3) + (theta.square() + EPS).log()
