"""KL terms of Gaussian weights q(w) = N(theta, sigma^2), as functions of log alpha = log(sigma^2 / theta^2).

ARD (Kharitonov et al. 2018): the prior N(0, tau^-1) of each weight has the tau that is best for the ELBO, which is
1 / (theta^2 + sigma^2), so that KL = 0.5 log(1 + 1 / alpha). Sparse VD (Molchanov et al. 2017,
https://arxiv.org/abs/1701.05369, eq. 14): the log-uniform prior, by the published fit. Both fall to 0 as alpha grows:
a weight that is all noise costs nothing, and is removed. That VINNAS uses ARD is recalled, not known.

All is elementwise, in float32 at least whatever autocast says, and finite, values and gradients, for any finite log
alpha and at theta = 0.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from src.errors import check_choice

EPS = 1e-8  # as in state_of_sparsity: log alpha at theta = 0 is log sigma^2 + 18.4
FIT = (0.63576, 1.8732, 1.48695)  # k1, k2, k3 of the sparse VD fit


def log_alpha(theta: Tensor, log_sigma2: Tensor, eps: float = EPS) -> Tensor:
    """log sigma^2 - log(theta^2 + eps), of any shape, not clipped."""
    theta = theta if theta.dtype.itemsize >= 4 else theta.float()
    return log_sigma2 - (theta.square() + eps).log()


def ard_kl(log_alpha: Tensor) -> Tensor:
    """0.5 softplus(-log alpha), in nats."""
    log_alpha = log_alpha if log_alpha.dtype.itemsize >= 4 else log_alpha.float()
    return 0.5 * F.softplus(-log_alpha)


def sparse_vd_kl(log_alpha: Tensor) -> Tensor:
    """The fit to the KL from a log-uniform prior, in nats, shifted such that it goes to 0 as alpha grows."""
    log_alpha = log_alpha if log_alpha.dtype.itemsize >= 4 else log_alpha.float()
    k1, k2, k3 = FIT
    # k1 - k1 sigmoid(a) written as k1 sigmoid(-a), which does not lose the digits of a small difference
    return k1 * (-(k2 + k3 * log_alpha)).sigmoid() + 0.5 * F.softplus(-log_alpha)


def ard_slope(log_alpha: Tensor) -> Tensor:
    """d `ard_kl` / d log alpha, in closed form, which is three times as fast as autograd."""
    return (-log_alpha).sigmoid_().mul_(-0.5)


def sparse_vd_slope(log_alpha: Tensor) -> Tensor:
    """d `sparse_vd_kl` / d log alpha."""
    k1, k2, k3 = FIT
    inner = k2 + k3 * log_alpha
    # s(-x) in place of 1 - s(x), which has no digits left where s(x) is nearly 1
    return ard_slope(log_alpha).sub_(inner.sigmoid() * (-inner).sigmoid_(), alpha=k1 * k3)


KLS: dict[str, Callable[[Tensor], Tensor]] = {"ard": ard_kl, "sparse_vd": sparse_vd_kl}
SLOPES: dict[str, Callable[[Tensor], Tensor]] = {"ard": ard_slope, "sparse_vd": sparse_vd_slope}


def kl_named(name: str) -> Callable[[Tensor], Tensor]:
    """The KL of this name; raises `UserError` for a name that is none of `KLS`."""
    return KLS[check_choice("kl", name, KLS)]
