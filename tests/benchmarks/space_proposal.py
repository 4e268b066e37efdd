"""What space proposals draw on the macro of HourNAS-F, for several seeds, as in section 4.3 of the specification.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/space_proposal.py [seeds] [expanded | input]

15 blocks of 13 operations are free, the vital ones are those of HourNAS-F; targets are 383 M MACs and 5.3 M parameters
within 5 %; squeeze-and-excitation is 0.05 of the expanded channels (as released) or 0.25 of the input (as in the
specification). 20,000 samples of each distribution. A minute on one core for three seeds.
"""

import sys
import time

import torch

from src.spaces.space_proposal import distinct, hit_rate, mean_entropy, propose, sample
from src.spaces.uniform_feasible import uniform_feasible
from tests.spaces.cost_tables import targets
from tests.spaces.f_macro import TARGETS, f_table

_COUNT = 20_000
_ROWS = {  # name: arguments of `propose`
    "|E[R] - T|, no sampling, entropy 0": {"loss": "expected", "entropy": 0.0},
    "|E[R] - T|, no sampling, entropy 0.01": {"loss": "expected"},
    "E|R - T|, entropy 0, 500 steps": {"entropy": 0.0, "steps": 500},
    "E|R - T|, entropy 0": {"entropy": 0.0},
    "E|R - T|, entropy 0.01 (default)": {},
    "E|R - T|, entropy 0.02": {"entropy": 0.02},
    "E|R - T|, entropy 0.05": {"entropy": 0.05},
    "E of what is outside, entropy 0.03": {"loss": "band", "entropy": 0.03},
    "E|R - T|^2, entropy 0.001": {"loss": "squared", "entropy": 0.001},
}
_HEAD = (
    f"{'distribution':<40}{'seed':>5}{'MACs (M)':>15}{'params (M)':>14}{'both 5 %':>10}{'entropy':>9}{'distinct':>10}"
)


def main(seeds: str = "3", se_of: str = "expanded") -> None:
    seeds = int(seeds)
    table, both, only_macs = f_table(se_of=se_of), targets(0.05, **TARGETS), targets(0.05, macs=TARGETS["macs"])
    blocked = torch.zeros(table.allowed.shape).masked_fill(~table.allowed, -torch.inf)
    print(f"{_HEAD}{'seconds':>9}")

    def show(name: str, seed: int, drawn: torch.Tensor, entropy: str, seconds: float) -> None:
        costs = table.of(drawn) / 1e6
        means, sds = costs.mean(0).tolist(), costs.std(0).tolist()
        macs, params = f"{means[0]:.1f}±{sds[0]:.1f}", f"{means[1]:.2f}±{sds[1]:.3f}"
        figures = f"{100 * hit_rate(drawn, table, both):>9.2f}%{entropy:>9}{distinct(drawn):>10}{seconds:>9.2f}"
        print(f"{name:<40}{seed:>5}{macs:>15}{params:>14}{figures}", flush=True)

    for seed in range(seeds):
        show("uniform", seed, sample(blocked, _COUNT, torch.Generator().manual_seed(seed)), "2.56", 0.0)
    for seed in range(seeds):
        began = time.monotonic()
        drawn = uniform_feasible(table, both, _COUNT, torch.Generator().manual_seed(seed))
        show("uniform among those that meet both", seed, drawn, "-", time.monotonic() - began)
    for name, arguments in [*_ROWS.items(), ("E|R - T| of MACs only, entropy 0.01", {"targets": only_macs})]:
        for seed in range(seeds):
            began = time.monotonic()
            logits = propose(table, seed=seed, proposals=1, **({"targets": both} | arguments))[0]
            seconds = time.monotonic() - began
            drawn = sample(logits, _COUNT, torch.Generator().manual_seed(seed))
            show(name, seed, drawn, f"{mean_entropy(logits):.2f}", seconds)
    began = time.monotonic()
    eight = propose(table, both, seed=0)
    seconds = time.monotonic() - began
    rates = [hit_rate(sample(own, _COUNT, torch.Generator().manual_seed(0)), table, both) for own in eight]
    apart = torch.pdist(eight.softmax(-1).flatten(1))
    print(
        f"8 proposals at once: {seconds:.1f} s, least hit rate {100 * min(rates):.2f} %, "
        f"{apart.min():.2f} to {apart.max():.2f} apart (L2 of the probabilities)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
