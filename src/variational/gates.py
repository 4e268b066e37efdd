"""Random gates of the operations of a super-net, z ~ N(theta, sigma^2): T cell types, E edges, O operations.

Gaussian multiplicative noise with a learned rate, no softmax: the ARD prior on z stands for "no operation" (VINNAS;
that it starts at theta = 1 / O and the noise of its z are reconstructed).
"""

import torch
from torch import Tensor, nn

from src.errors import check_choice, check_flag, check_range, check_whole
from src.variational import kl

NOISES = ("scalar", "example")


class StructuralGates(nn.Module):
    """Means and variances of the gates, and which operations live.

    Args:
        shape: (T, E, O).
        theta: where the means start; None: 1 / O, the scale of a uniform softmax.
        log_sigma2: where log sigma^2 starts.
        trainable: whether both are parameters; if not, buffers.
        threshold: on log alpha, at or above which `prunable` tells that a gate is noise only.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        theta: float | None = None,
        log_sigma2: float = -6.0,
        trainable: bool = True,
        threshold: float = 3.0,
    ) -> None:
        super().__init__()
        shape = tuple(shape)
        for name, size in zip(("types", "edges", "operations"), shape, strict=True):
            check_whole(f"gates.{name}", size, 1)
        theta = 1 / shape[-1] if theta is None else check_range("init_theta_z", theta)
        check_range("init_log_sigma2_z", log_sigma2)
        self.threshold = float(check_range("threshold_z", threshold))
        values = {"theta": torch.full(shape, float(theta)), "log_sigma2": torch.full(shape, float(log_sigma2))}
        for name, value in values.items():
            if check_flag("trainable", trainable):
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.register_buffer("live", torch.ones(shape, dtype=torch.bool))

    def log_alpha(self) -> Tensor:
        """log(sigma^2 / theta^2), (T, E, O), of dead gates too."""
        return kl.log_alpha(self.theta, self.log_sigma2)

    def prunable(self) -> Tensor:
        """Live gates whose log alpha is at or above the threshold, bool (T, E, O)."""
        return self.live & (self.log_alpha().detach() >= self.threshold)

    def means(self) -> Tensor:
        """theta, 0 where dead: (T, E, O)."""
        return self.theta * self.live

    def variances(self) -> Tensor:
        """sigma^2, 0 where dead: (T, E, O)."""
        return self.log_sigma2.exp() * self.live

    def draw(self, noise: str = "scalar", batch: int = 1) -> Tensor:
        """One draw from torch's global generator, 0 where dead.

        Args:
            noise: "scalar": (T, E, O), one value for the whole batch; "example": (B, T, E, O), one for each example.
            batch: B; of no matter for "scalar".
        """
        return drawn(self.theta, self.log_sigma2, self.live, noise, batch)

    def kl(self, name: str = "ard") -> Tensor:
        """The sum of the KL (`KLS`) over live gates, in nats."""
        return (kl.kl_named(name)(self.log_alpha()) * self.live).sum()


def drawn(theta: Tensor, log_sigma2: Tensor, live: Tensor, noise: str, batch: int) -> Tensor:
    """One draw of gates with this posterior, as `StructuralGates.draw` has it; differentiable in theta, log_sigma2."""
    check_choice("z_noise", noise, NOISES)
    shape = tuple(theta.shape) if noise == "scalar" else (batch, *theta.shape)
    eps = torch.randn(shape, device=theta.device, dtype=theta.dtype)
    return torch.addcmul(theta * live, (0.5 * log_sigma2).exp() * live, eps)
