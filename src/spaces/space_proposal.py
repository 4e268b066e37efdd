"""Space proposals: sampling distributions that land on the targets (HourNAS, https://arxiv.org/abs/2005.14446).

Before any network is trained, logits pi (L, O) are fitted to the cost table so that what is drawn from them costs what
the targets T ask for, from N starts:

    L(pi) = E_{a ~ GS(pi, tau)} sum_k |R_k(a) - T_k| / T_k  -  entropy * mean_l H(softmax pi_l)

with hard samples of the Gumbel-softmax distribution and straight-through gradients. While the network is searched, its
logits are pulled to the nearest proposal. The paper's text was not at hand: the loss, its weights, the optimiser, the
number of steps and the distance are reconstructions, and named options.
"""

import torch
from torch import Tensor

from src.errors import check_choice
from src.networks.gumbel import gates, gumbel_noise
from src.runtime.seeds import keyed_generator
from src.spaces.cost_table import CostTable
from src.spaces.targets import Targets

# absolute: |miss| of each sample; squared: its square; band: what |miss| has above the tolerance, as a share of that;
# expected: |miss| of the mean cost, without any sampling
LOSSES = ("absolute", "squared", "band", "expected")
# squared: squared Euclidean distance of the probabilities; kl: Kullback-Leibler divergence from the proposal to them
DISTANCES = ("squared", "kl")
_CHUNK = 50  # steps whose noise is drawn at once


def propose(
    table: CostTable,
    targets: Targets,
    seed: int,
    proposals: int = 8,
    steps: int = 1000,
    samples: int = 16,
    lr: float = 0.1,
    tau_start: float = 5.0,
    tau_end: float = 0.5,
    entropy: float = 0.01,
    loss: str = "absolute",
) -> Tensor:
    """Logits (N, L, O) float32 of N proposals, -inf where a block may not take an operation.

    Start n has a normal start and noise of its own, keyed by (seed, n): it is the same whatever N is.

    Args:
        table: of L blocks with up to O operations; costs that `targets` does not name are not looked at. Blocks that
            have no choice do not count in the mean of the entropy.
        samples: of each step and proposal.
        lr: of Adam.
        tau_start, tau_end: the temperature falls geometrically from the one to the other.
        entropy: weight of the entropy, in nats; without it a proposal collapses to a few hundred choices.
        loss: one of `LOSSES`. Where few choices lie near the targets, as in small spaces, "band" with an entropy of
            0.03 meets them far more often than "absolute", which aims at their middle, where there may be nothing.
    """
    check_choice("method.proposal.loss", loss, LOSSES)
    table = table.only(targets.names)
    shape = tuple(table.allowed.shape)
    generators = [keyed_generator(seed, "proposal", start) for start in range(proposals)]
    if not proposals:
        return torch.zeros(0, *shape)
    logits = torch.nn.Parameter(torch.stack([torch.randn(shape, generator=own) for own in generators]))
    optimizer = torch.optim.Adam([logits], lr=lr)
    blocked = torch.zeros(shape).masked_fill(~table.allowed, -torch.inf)
    for step in range(steps):
        current = logits + blocked
        if loss == "expected":
            drawn = current.softmax(-1)[:, None]
        else:
            if step % _CHUNK == 0:
                noise = torch.stack([gumbel_noise((_CHUNK, samples, *shape), own) for own in generators], dim=1)
            tau = tau_start * (tau_end / tau_start) ** (step / max(steps - 1, 1))
            drawn = gates(current[:, None], noise[step % _CHUNK], tau, hard=True)
        misses = targets.misses(table.expected(drawn.double()))  # (N, S, K); float64 holds the sums exactly
        value = _penalties(misses, loss, targets.tolerance).sum(-1).mean(-1) - entropy * mean_entropy(current)
        optimizer.zero_grad()
        value.sum().backward()
        optimizer.step()
    return (logits + blocked).detach()


def _penalties(misses: Tensor, loss: str, tolerance: float) -> Tensor:
    if loss == "squared":
        return misses.square()
    if loss == "band":
        return (misses.abs() / max(tolerance, 1e-6) - 1).clamp_min(0)
    return misses.abs()


def mean_entropy(logits: Tensor) -> Tensor:
    """The mean entropy (...) in nats of logits (..., L, O), over the blocks that have a choice; 0 if none has."""
    logs = logits.log_softmax(-1)
    entropies = -(logs.exp() * logs.masked_fill(logits == -torch.inf, 0.0)).sum(-1)
    free = (logits > -torch.inf).sum(-1) > 1
    return (entropies * free).sum(-1) / free.sum(-1).clamp_min(1)


def pull(probabilities: Tensor, proposals: Tensor, distance: str = "squared") -> tuple[Tensor, int]:
    """The distance to the nearest proposal, to be made small, and which one that is.

        min_n sum_l || p_l - q_n,l ||^2        or, of distance "kl",   min_n sum_l KL(q_n,l || p_l)

    Args:
        probabilities: (L, O) of the search.
        proposals: (N, L, O) probabilities, which stay as they are; N is 1 at least.
        distance: one of `DISTANCES`.
    """
    distances = distances_to(probabilities, proposals, distance)
    nearest = int(distances.argmin())
    return distances[nearest], nearest


def distances_to(probabilities: Tensor, proposals: Tensor, distance: str = "squared") -> Tensor:
    """The distance (N,) of probabilities (L, O) to each of proposals (N, L, O); further dimensions broadcast."""
    check_choice("method.stage2.distance", distance, DISTANCES)
    proposals = proposals.to(probabilities)
    if distance == "squared":
        return (probabilities - proposals).square().sum((-2, -1))
    tiny = torch.finfo(probabilities.dtype).tiny
    ratio = proposals.clamp_min(tiny).log() - probabilities.clamp_min(tiny).log()
    return (proposals * ratio).sum((-2, -1))


def cost_miss(probabilities: Tensor, table: CostTable, targets: Targets) -> Tensor:
    """sum_k |E[R_k] - T_k| / T_k (...) of probabilities (..., L, O): a pull without proposals, to compare with.

    It leaves the search free among all that costs the same, as the resource loss of FBNet does.
    """
    return targets.misses(table.only(targets.names).expected(probabilities.double())).abs().sum(-1)


# what a proposal is worth


def sample(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` independent choices (count, L) int64 from logits (L, O)."""
    probabilities = logits.detach().cpu().double().softmax(-1)
    return torch.multinomial(probabilities, count, replacement=True, generator=generator).T.contiguous()


def hit_rate(choices: Tensor, table: CostTable, targets: Targets) -> float:
    """The share of choices (M, L) that meets all targets."""
    return float(targets.met_by(choices, table).double().mean())


def distinct(choices: Tensor) -> int:
    """How many different ones there are among choices (M, L)."""
    return len(torch.unique(choices, dim=0))
