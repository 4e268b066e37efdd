"""What the pull to the nearest proposal does to a search, on cost tables alone.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/proposal_pull.py

First the pull without any other loss. Then with a stand-in for the cross-entropy: each operation of each block adds a
quality of its own, normal with deviation s, half of it going with the MACs of the operation; each step sees it with a
noise of 3 s. The best choice within the targets is known exactly. *Regret* of the pick (the likeliest choice that meets
the targets): 0 the best, 1 the mean of uniform feasible ones. *inside*: the share of sampled choices that meets both
targets in the last third of the search. Macro of HourNAS-F, 300 steps of Adam, 16 runs. Four minutes on one core.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from src.networks.gumbel import gates, gumbel_noise
from src.spaces.feasible import likeliest
from src.spaces.space_proposal import cost_miss, distances_to, hit_rate, propose, sample
from src.spaces.uniform_feasible import uniform_feasible
from tests.spaces.cost_tables import targets
from tests.spaces.f_macro import TARGETS, f_table

_RUNS, _STEPS, _NOISE, _QUALITY = 16, 300, 3.0, 0.01
_TABLE, _GIVEN = f_table(se_of="input"), targets(0.05, **TARGETS)
_BLOCKED = torch.zeros(_TABLE.allowed.shape).masked_fill(~_TABLE.allowed, -torch.inf)
_BLOCKS = torch.arange(len(_BLOCKED))


def pull_alone(proposals: Tensor) -> None:
    print("the pull alone: share of samples within both targets after 30, 100 and 300 steps")
    for lr in (0.01, 0.03, 0.05):
        for beta in (0.1, 1, 10):
            theta = torch.nn.Parameter(torch.zeros_like(_BLOCKED))
            optimizer, hits = torch.optim.Adam([theta], lr=lr), []
            for step in range(1, _STEPS + 1):
                optimizer.zero_grad()
                (beta * distances_to((theta + _BLOCKED).softmax(-1), proposals).min()).backward()
                optimizer.step()
                if step in (30, 100, 300):
                    drawn = sample(theta + _BLOCKED, 5000, torch.Generator().manual_seed(0))
                    hits.append(f"{100 * hit_rate(drawn, _TABLE, _GIVEN):5.1f} %")
            print(f"  lr {lr:<5} beta {beta:<4} {'  '.join(hits)}", flush=True)


def qualities() -> tuple[Tensor, Tensor, Tensor]:
    """Qualities (R, L, O), to be made small; of each run that of the best choice, and the mean of feasible ones."""
    generator = torch.Generator().manual_seed(0)
    macs = _TABLE.table[0].float()
    macs = macs / macs.amax(1, keepdim=True)
    macs = (macs - macs.mean(1, keepdim=True)) / macs.std(1, keepdim=True)
    own = torch.randn(_RUNS, *_BLOCKED.shape, generator=generator)
    quality = (0.5**0.5 * (own - macs)).masked_fill(~_TABLE.allowed, 0.0)
    best = torch.stack([likeliest(-run, _TABLE, _GIVEN) for run in quality])
    uniform = uniform_feasible(_TABLE, _GIVEN, 2000, generator)
    means = torch.stack([run[_BLOCKS, uniform].sum(-1).mean() for run in quality])
    return quality, quality.gather(2, best[:, :, None]).sum((1, 2)), means


def search(pull: Callable[[Tensor], Tensor], beta: float, lr: float, worth: tuple[Tensor, Tensor, Tensor]) -> str:
    quality, best, means = worth
    generator = torch.Generator().manual_seed(1)
    theta = torch.nn.Parameter(torch.zeros_like(quality))
    optimizer, inside = torch.optim.Adam([theta], lr=lr, betas=(0.5, 0.999)), []
    for step in range(_STEPS):
        logits = theta + _BLOCKED
        drawn = gates(logits, gumbel_noise(tuple(quality.shape), generator), 5 * 0.1 ** (step / _STEPS), hard=True)
        if step >= 2 * _STEPS // 3:
            inside.append(_GIVEN.met_by(drawn.argmax(-1), _TABLE).double().mean())
        seen = quality + _NOISE * torch.randn(quality.shape, generator=generator)
        optimizer.zero_grad()
        (_QUALITY * (drawn * seen).sum() + beta * pull(logits.softmax(-1)).sum()).backward()
        optimizer.step()
    logits = (theta + _BLOCKED).detach().log_softmax(-1)
    picks = torch.stack([likeliest(run, _TABLE, _GIVEN) for run in logits])
    regret = (quality.gather(2, picks[:, :, None]).sum((1, 2)) - best) / (means - best)
    met = _GIVEN.met_by(logits.argmax(-1), _TABLE).double().mean()
    return f"regret {regret.mean():.2f}  inside {torch.stack(inside).mean():.2f}  argmax meets both {met:.2f}"


def main() -> None:
    proposals = propose(_TABLE, _GIVEN, 0).softmax(-1)
    pull_alone(proposals)
    worth = qualities()
    pulls = {
        "nearest proposal, squared": lambda p: distances_to(p[:, None], proposals).amin(1),
        "nearest proposal, kl": lambda p: distances_to(p[:, None], proposals, "kl").amin(1),
        "mean cost, no proposal": lambda p: cost_miss(p, _TABLE, _GIVEN),
    }
    for name, pull in pulls.items():
        for lr in (0.01, 0.05):
            for share in (0, 0.1, 0.3, 1, 3, 10, 30, 100):
                print(
                    f"{name:<26} lr {lr:<5} beta/s {share:<5} {search(pull, share * _QUALITY, lr, worth)}", flush=True
                )


if __name__ == "__main__":
    main()
