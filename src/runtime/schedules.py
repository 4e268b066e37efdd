"""Learning-rate schedules over a known number of steps."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from src.errors import check_range


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1, final: float = 0.0) -> LambdaLR:
    """Linear warm-up, then half a cosine down (Loshchilov & Hutter, https://arxiv.org/abs/1608.03983, no restarts).

    Args:
        total_steps: optimizer steps of the whole training; filled in by the module.
        warmup: share of them in which the rate rises from 0 to that of the optimizer.
        final: rate at the end as a share of the optimizer's.
    """
    check_range("scheduler.warmup", warmup, 0, 0.99)
    check_range("scheduler.final", final, 0, 1)
    rising = max(1, round(warmup * total_steps)) if warmup > 0 else 0

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, total_steps - rising))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
