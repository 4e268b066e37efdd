"""Gates of a mixed block: the Gumbel-softmax (Jang et al. 2017, https://arxiv.org/abs/1611.01144).

a_o = exp((theta_o + g_o) / tau) / sum_p exp((theta_p + g_p) / tau),   g = -log(-log u),  u ~ U(0, 1)
"""

import torch
from torch import Tensor

from src.errors import check_range


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Independent standard Gumbel variables, float32, on the device of `generator`."""
    # minus the logarithm of a standard exponential variable, which is never 0
    return torch.empty(shape, device=generator.device).exponential_(generator=generator).log_().neg_()


def gates(logits: Tensor, noise: Tensor | None = None, tau: float = 1.0, hard: bool = False) -> Tensor:
    """The gates (L, O) of logits (L, O), which sum to 1 in each block.

    Args:
        logits: -inf for an operation that a block does not have: its gate is 0. A block with no operation at all has
            gates of 0.
        noise: of the shape of `logits`; None: none, so that the gates are the softmax of logits / tau.
        tau: temperature above 0. The smaller, the nearer to one-hot.
        hard: the values are exactly one-hot, the gradient is that of the soft gates (straight-through).

    Raises:
        UserError: tau is not above 0.
    """
    check_range("tau", tau, torch.finfo(torch.float64).tiny)
    scores = logits if noise is None else logits + noise.to(logits)
    present, limits = scores > -torch.inf, torch.finfo(scores.dtype)
    most = scores.detach().amax(-1, keepdim=True)
    # taken off before the division, so that nothing overflows at any temperature
    scores = torch.where(present, scores - most.clamp_min(limits.min), 0.0) / max(tau, limits.tiny)
    soft = torch.softmax(scores.masked_fill(~present, limits.min), dim=-1) * present
    if not hard:
        return soft
    # of the scores, not of the gates, among which ties may come by rounding
    picked = torch.zeros_like(soft).scatter_(-1, scores.masked_fill(~present, -torch.inf).argmax(-1, keepdim=True), 1.0)
    return picked * present + (soft - soft.detach())
