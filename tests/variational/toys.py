"""Two small problems whose solution under variational dropout is known (T6 and T7 of the specification)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from src.variational.conversion import variational
from src.variational.gates import StructuralGates
from src.variational.kl import KLS

OUTPUTS, INPUTS, ROWS = 10, 250, 100


class Teacher(NamedTuple):
    kept: int  # weights that live, of 2,500
    relevant: int  # of them those of the teacher, of 10
    dense_mse: float
    pruned_mse: float


def linear_teacher(
    scale: float, steps: int = 4000, dense_steps: int = 1000, log_sigma2: float = -10.0, kl: str = "ard", seed: int = 0
) -> Teacher:
    """A linear layer with more weights than data; y = -x[:, :10]; the loss is MSE + scale * mean(KL)."""
    generator = torch.Generator().manual_seed(seed)
    x, test = (torch.randn(rows, INPUTS, generator=generator) for rows in (ROWS, 2000))
    layer = nn.Linear(INPUTS, OUTPUTS, bias=False)
    with torch.no_grad():
        layer.weight.copy_(0.05 * torch.randn(OUTPUTS, INPUTS, generator=generator))

    def train(model: nn.Module, steps: int) -> nn.Module:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), -x[:, :OUTPUTS])
            if hasattr(model, "log_alpha"):
                loss = loss + scale * KLS[kl](model.log_alpha()).mean()
            loss.backward()
            optimizer.step()
        return model.eval()

    @torch.no_grad()
    def test_mse(model: nn.Module) -> float:
        return float(F.mse_loss(model(test), -test[:, :OUTPUTS]))

    torch.manual_seed(seed)
    train(layer, dense_steps)
    drawn = train(variational(layer, init_log_sigma2=log_sigma2).train(), steps)
    live = drawn.live()
    relevant = int(live.diagonal().sum())  # output i is -x_i
    return Teacher(int(live.sum()), relevant, test_mse(layer), test_mse(drawn))


OPERATIONS = ("identity", "avgpool", "max", "flip", "noise", "zero")
TARGET, DEVIATION = (0.5, 1.0), 0.3  # gates of identity and average pool; of the noise on the target


class Gates(NamedTuple):
    """Means over the last tenth of the steps: theta near 0 wanders, and log alpha of one moment with it."""

    theta: list[float]
    log_alpha: list[float]


def fixed_points(scale: float) -> list[float]:
    """log alpha of identity and avgpool where KL and likelihood balance: sigma^2 = scale * s^2, as E[o^2] = 1."""
    return [float(torch.tensor(scale * DEVIATION**2 / theta**2).log()) for theta in TARGET]


def six_operations(scale: float, noise: str, steps: int = 6000, ramp: int = 1000, lr: float = 3e-3) -> Gates:
    """Six operations on one edge, two of which make the target; the loss is NLL per element + scale * KL of the gates.

    noise: "scalar", "example" or "lrt", the noise of the gates.
    """
    torch.manual_seed(0)
    gates = StructuralGates((1, 1, len(OPERATIONS)))
    optimizer = torch.optim.Adam(gates.parameters(), lr=lr)
    seen = []
    for step in range(steps):
        x = torch.randn(16, 2, 8, 8)
        made = torch.stack([x, F.avg_pool2d(x, 3, 1, 1), F.max_pool2d(x, 3, 1, 1), x.flip(3), torch.randn_like(x)])
        flat = made.flatten(1)
        made = (made - flat.mean(1).view(-1, 1, 1, 1, 1)) / flat.std(1).view(-1, 1, 1, 1, 1)
        made = torch.cat([made, torch.zeros_like(made[:1])])  # (O, B, C, H, W)
        target = TARGET[0] * made[0] + TARGET[1] * made[1] + DEVIATION * torch.randn_like(x)
        if noise == "lrt":
            mean, variance = (
                torch.einsum("o,obchw->bchw", g[0, 0], made**p) for p, g in ((1, gates.means()), (2, gates.variances()))
            )
            output = mean + (variance + 1e-8).sqrt() * torch.randn_like(mean)
        elif noise == "example":
            output = torch.einsum("bo,obchw->bchw", gates.draw("example", len(x))[:, 0, 0], made)
        else:
            output = torch.einsum("o,obchw->bchw", gates.draw("scalar")[0, 0], made)
        likelihood = 0.5 * (output - target).square().mean() / DEVIATION**2
        optimizer.zero_grad()
        (likelihood + scale * min(1.0, step / ramp) * gates.kl("ard")).backward()
        optimizer.step()
        seen.append(torch.stack([gates.theta, gates.log_alpha()]).detach()[:, 0, 0])
    return Gates(*torch.stack(seen[-steps // 10 :]).mean(0).tolist())
