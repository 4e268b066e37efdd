"""The noise variance of EVBMF: the global minimum of the free energy, for many spectra at once.

Everything here is scale-free. A spectrum enters as c_i = s_i^2 / (M*ub) with ub = sum_i s_i^2 / (L*M), the largest
noise variance possible, so that the c_i have mean 1 and the noise variance v lies in (0, 1]. L <= M is required.

The free energy F(u), u = ln v, is a sum over the singular values (Nakajima et al., JMLR 2013). With x_i = c_i / v and
tau_i = tau(x_i), dF/du and d2F/du2 follow from dx/dtau = 1 - alpha/tau^2:

    noise,  x_i <= x_u:  x_i - ln x_i
                         dF/du: 1 - x_i                    d2F/du2: x_i
    signal, x_i >  x_u:  1 + alpha + alpha/tau_i - ln(1 + alpha/tau_i) + alpha*ln(tau_i/alpha + 1)
                         dF/du: -alpha*(1 + 1/tau_i)       d2F/du2: -alpha*x_i / (tau_i^2 - alpha)

(the signal term is x - tau + ln((tau+1)/x) + alpha*ln(tau/alpha+1) without its cancellation at large x). F is smooth
except at its kinks v = c_i/x_u, where value i turns from noise into signal, and it can have many local minima.
Therefore the search interval is cut at every kink and at a regular grid, each cell is judged by a quadratic through its
middle, and the most promising cells are solved by bisection of the slope.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

TAU_UNIT = 2.5129  # tau at the threshold is this times sqrt(alpha) (Nakajima et al.)

_GRID = 128  # regular cells per spectrum, beside those that the kinks make
_CANDIDATES = 8  # cells that are solved
_BISECTIONS = 30  # leaves 1e-9 of a cell: far below what matters, and still safely off the kinks at its ends
_ELEMENTS = 2**19  # elements of float64 in one intermediate (4 MB)


@dataclass(frozen=True)
class ScaledSpectra:
    """B spectra in the units of this module."""

    c: Tensor  # (B, H) descending, zeros after the true count
    alpha: Tensor  # (B, 1) L/M, at most 1
    count: Tensor  # (B, 1) L, the number of true values

    @cached_property
    def kinks(self) -> Tensor:
        """The noise variances (B, H), descending, below which each value is signal."""
        return self.c / threshold_ratio(self.alpha)

    @cached_property
    def tails(self) -> tuple[Tensor, Tensor]:
        """Sums of c_i and of ln c_i from value k on, each (B, H+1)."""
        return _tail_sums(self.c), _tail_sums(self.c.log().where(self.c > 0, 0))


class FreeEnergy(NamedTuple):
    """F at (B, N) points and its first two derivatives in u = ln v (one-sided at a kink: from above)."""

    value: Tensor
    slope: Tensor
    curvature: Tensor


def threshold_ratio(alpha: Tensor) -> Tensor:
    """x_u: a singular value is signal where s^2 / (M*v) exceeds this."""
    tau = TAU_UNIT * alpha.sqrt()
    return (1 + tau) * (1 + alpha / tau)


def tau_of(x: Tensor, alpha: Tensor) -> Tensor:
    """The larger root of x = (1 + tau)(1 + alpha/tau); real for x >= x_u."""
    shifted = x - (1 + alpha)
    return 0.5 * (shifted + (shifted * shifted - 4 * alpha).clamp_min(0).sqrt())


def free_energy(log_v: Tensor, spectra: ScaledSpectra) -> FreeEnergy:
    """F of the module's docstring and its derivatives at `log_v` (B, N)."""
    v, alpha = log_v.exp(), spectra.alpha[..., None]
    signal = torch.searchsorted(-spectra.kinks, -v)  # (B, N): how many values are signal
    noise = spectra.count - signal
    # Noise terms need sums over the tail of the spectrum only, so they cost nothing per value.
    tail, tail_log = (sums.gather(1, signal) for sums in spectra.tails)
    tail = tail / v
    value = tail + noise * log_v - tail_log
    slope, curvature = noise - tail, tail
    most = int(signal.max()) if signal.numel() else 0
    if most:
        kept = torch.arange(most, device=v.device) < signal[..., None]  # (B, N, most)
        x = (spectra.c[:, None, :most] / v[..., None]).where(kept, 2 * threshold_ratio(alpha))
        tau = tau_of(x, alpha)
        inverse = alpha / tau
        terms = 1 + alpha + inverse - (1 - alpha) * inverse.log1p() + alpha * (tau / alpha).log()
        value = value + (terms * kept).sum(-1)
        slope = slope - ((alpha + inverse) * kept).sum(-1)
        curvature = curvature - (alpha * x / (tau * tau - alpha) * kept).sum(-1)
    return FreeEnergy(value, slope, curvature)


def noise_variance(spectra: ScaledSpectra, lower: Tensor) -> Tensor:
    """The v in [lower, 1] where F is smallest, (B,); `lower` (B,) is above 0 and at most 1."""
    left, right = _cells(spectra, lower.log()[:, None])
    guess = _cell_minima(left, right, spectra)
    best = guess.topk(min(_CANDIDATES, guess.shape[1]), largest=False).indices
    left, right = left.gather(1, best), right.gather(1, best)
    for _ in range(_BISECTIONS):
        middle = (left + right) / 2
        rising = free_energy(middle, spectra).slope > 0
        left, right = left.where(rising, middle), middle.where(rising, right)
    middle = (left + right) / 2
    winner = free_energy(middle, spectra).value.argmin(1, keepdim=True)
    return middle.gather(1, winner)[:, 0].exp()


def _cells(spectra: ScaledSpectra, low: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right ends (B, N) in ln v of cells without a kink inside."""
    regular = low * torch.linspace(1, 0, _GRID + 1, dtype=low.dtype, device=low.device)
    kinks = spectra.kinks.log()  # -inf for padding: clamped onto the lower end
    edges = torch.cat([regular, kinks.clamp_max(0).maximum(low)], dim=1).sort(1).values
    return edges[:, :-1], edges[:, 1:]


def _cell_minima(left: Tensor, right: Tensor, spectra: ScaledSpectra) -> Tensor:
    """The smallest F in each cell (B, N), by the quadratic through the cell's middle; infinite in an empty cell."""
    middle, half = (left + right) / 2, (right - left) / 2
    width = max(1, _ELEMENTS // max(1, spectra.c.numel()))
    minima = []
    for points, reach in zip(middle.split(width, 1), half.split(width, 1), strict=True):
        value, slope, curvature = free_energy(points, spectra)
        newton = torch.minimum((slope / curvature.clamp_min(1e-300)).abs(), reach)
        step = -slope.sign() * newton.where(curvature > 0, reach)
        minima.append((value + slope * step + 0.5 * curvature * step * step).where(reach > 1e-12, torch.inf))
    return torch.cat(minima, dim=1)


def _tail_sums(terms: Tensor) -> Tensor:
    """(B, H) -> (B, H+1): entry k is the sum of the terms from k on."""
    sums = terms.flip(1).cumsum(1).flip(1)
    return torch.nn.functional.pad(sums, (0, 1))
