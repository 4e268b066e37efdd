"""How strong a Gaussian gate z ~ N(theta, sigma^2) is, elementwise, in float64: by which operations are ranked.

A gate enters linearly and what follows normalises it, so a strongly negative gate is of use too: `snr` takes it for
strong, `snr_plus` for weak. That VINNAS uses the positive SNR is recalled, not known.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from src.errors import check_choice


def snr(theta: Tensor, sigma: Tensor) -> Tensor:
    """|theta| / sigma = alpha^-0.5; 0 where theta is 0."""
    theta, sigma = theta.double(), sigma.double()
    return torch.where(theta == 0, 0.0, theta.abs() / sigma)


def snr_plus(theta: Tensor, sigma: Tensor) -> Tensor:
    """E[z+] / sqrt(Var[z+]) of z+ = max(0, z); grows with theta / sigma, and is 0.683 at theta = 0.

    With r = theta / sigma, Phi and phi the normal distribution and its density, in units of sigma:
    E[z+] = r Phi + phi, E[z+^2] = (r^2 + 1) Phi + r phi.
    """
    theta, sigma = theta.double(), sigma.double()
    exact = torch.where(theta == 0, 0.0, theta / sigma)
    r = exact.clamp(-30, 10)  # below: 1e-98 and the differences lose their digits; above: r itself, to 20 digits
    density = (-0.5 * r.square()).exp() / math.sqrt(2 * math.pi)
    below = 0.5 * torch.special.erfc(-r / math.sqrt(2))  # torch.special.ndtr has lost all digits at r = -8
    mean = r * below + density
    square = (r.square() + 1) * below + r * density
    return torch.where(exact > 10, exact, mean / (square - mean.square()).sqrt())


def mean_abs(theta: Tensor, sigma: Tensor) -> Tensor:
    """|theta|, the strength without regard to the noise."""
    return theta.double().abs()


RANKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"snr": snr, "snr_plus": snr_plus, "mean_abs": mean_abs}


def rank_named(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The statistic of this name; raises `UserError` for a name that is none of `RANKS`."""
    return RANKS[check_choice("rank", name, RANKS)]
