"""Proposes where to search: distributions whose samples meet the targets (HourNAS, https://arxiv.org/abs/2005.14446).

When to use: with `method=hournas`, whose second stage is pulled to the nearest proposal. Cost: no network runs; 8
proposals for 22 blocks of 13 operations take two to three seconds on one core.
"""

import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from src.errors import check_choice, check_range, check_whole
from src.reporting.operation_figures import probabilities_figure, proposal_costs_figure
from src.runtime.ranks.agreement import gathered
from src.runtime.seeds import keyed_generator
from src.spaces.cost_table import CostTable
from src.spaces.feasible import check_feasible, count_log10
from src.spaces.space_proposal import LOSSES, distinct, hit_rate, mean_entropy, propose, sample
from src.spaces.targets import Targets

_MEASURED = 20_000  # samples, of which the figures of a proposal are made
_DRAWN = 400  # samples of a proposal in the picture


class SpaceProposal(pl.Callback):
    """Fits proposals to the cost table when the method asks for them, and remembers what they are worth.

    The method calls `proposals_for` at the beginning of its second stage, and tells by `nearest` which of them it has
    come nearest to. After a resume the same call returns what was found before.

    Args:
        proposals: starts of the search for proposals; 0: none, the search is not pulled.
        steps, samples, lr, tau_start, tau_end, entropy, loss: see `src.spaces.space_proposal.propose`.
        least_hits: of what a proposal draws at least this share has to meet the targets, or it is left out, with a
            warning; where none is good enough the best is kept.

    Raises:
        UserError: an argument that is not allowed.
    """

    def __init__(
        self,
        proposals: int = 8,
        steps: int = 1000,
        samples: int = 16,
        lr: float = 0.1,
        tau_start: float = 5.0,
        tau_end: float = 0.5,
        entropy: float = 0.03,
        loss: str = "band",
        least_hits: float = 0.1,
    ) -> None:
        self.proposals = check_whole("method.proposal.proposals", proposals, 0, 1000)
        self.steps = check_whole("method.proposal.steps", steps, 1)
        self.samples = check_whole("method.proposal.samples", samples, 1, 10_000)
        self.lr = check_range("method.proposal.lr", lr, 1e-6, 100)
        self.tau_start = check_range("method.proposal.tau_start", tau_start, 1e-3, 1e3)
        self.tau_end = check_range("method.proposal.tau_end", tau_end, 1e-3, 1e3)
        self.entropy = check_range("method.proposal.entropy", entropy, 0, 1e3)
        self.loss = check_choice("method.proposal.loss", loss, LOSSES)
        self.least_hits = check_range("method.proposal.least_hits", least_hits, 0, 1)
        self.nearest: int | None = None  # among those that `proposals_for` gave
        self._state: dict[str, Any] = {}  # plain values and tensors

    def __repr__(self) -> str:
        names = ("proposals", "steps", "samples", "lr", "tau_start", "tau_end", "entropy", "loss", "least_hits")
        return f"SpaceProposal({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def proposals_for(
        self, table: CostTable, targets: Targets, seed: int, operations: Sequence[str] | None = None
    ) -> Tensor:
        """Logits (N, L, O) of the proposals, on the CPU and the same on all ranks; call it on all.

        Args:
            table: what the second stage may choose: vital blocks are restricted to what they have.
            targets: a UserError tells where they cannot be met.
            seed: of the run.
            operations: O names, for the pictures.
        """
        key = {
            "seed": int(seed),
            "names": list(targets.names),
            "targets": targets.values.tolist(),
            "tolerance": targets.tolerance,
            "arguments": repr(self),
        }
        tables = {"costs": list(table.names), "fixed": table.fixed, "table": table.table, "allowed": table.allowed}
        if self._state and self._state["key"] == key and all(_same(self._state[n], v) for n, v in tables.items()):
            return self._state["logits"]
        check_feasible(table, targets)
        began = time.monotonic()
        logits = propose(
            table, targets, seed, self.proposals, self.steps, self.samples, self.lr, self.tau_start, self.tau_end,
            self.entropy, self.loss,
        )  # fmt: skip
        logits = gathered(logits)[0]
        seconds = time.monotonic() - began
        drawn = [sample(own, _MEASURED, keyed_generator(seed, "proposed", n)) for n, own in enumerate(logits)]
        hits = [hit_rate(own, table, targets) for own in drawn]
        kept = [n for n, rate in enumerate(hits) if rate >= self.least_hits]
        if hits and not kept:  # hours into a search, a poor one is better than an end
            kept = [hits.index(max(hits))]
        self._tell_left_out(hits, len(kept), targets)
        self._state = tables | {
            "key": key,
            "logits": logits[kept],
            "hits": [hits[n] for n in kept],
            "distinct": [distinct(drawn[n]) for n in kept],
            "entropies": [float(mean_entropy(logits[n])) for n in kept],
            "uniform_hits": hit_rate(self._uniform(table, seed), table, targets),
            "operations": list(operations or map(str, range(table.allowed.shape[1]))),
            "seconds": seconds,
        }
        self.nearest = None
        return self._state["logits"]

    def _tell_left_out(self, hits: list[float], kept: int, targets: Targets) -> None:
        poor = [rate for rate in hits if rate < self.least_hits]
        if not poor:
            return
        told = f"of what they draw at most {100 * max(poor):.2g} % meets {targets.told()}"
        if len(poor) == len(hits):
            told += "; the best is kept; more method.proposal.steps or a wider method.tolerance may help"
        rank_zero_warn(f"{len(hits) - kept} of {len(hits)} space proposals are left out: {told}")

    def _uniform(self, table: CostTable, seed: int) -> Tensor:
        logits = torch.zeros(table.allowed.shape).masked_fill(~table.allowed, -torch.inf)
        return sample(logits, _MEASURED, keyed_generator(seed, "uniform"))

    # what the report shows

    def facts(self) -> dict[str, str]:
        """Short texts for the head of the report page; none before there are proposals."""
        if not self._state or not len(self._state["logits"]):
            return {}
        state, (_, table) = self._state, self._targets_and_table()
        hits = [100 * rate for rate in state["hits"]]
        return {
            "space proposals": f"{len(hits)} of {self.proposals} starts in {state['seconds']:.1f} s",
            "samples that meet all targets": (
                f"{min(hits):.4g} to {max(hits):.4g} % of a proposal's, {100 * state['uniform_hits']:.2g} % of uniform"
            ),
            "different ones": f"{min(state['distinct']):,} to {max(state['distinct']):,} of {_MEASURED:,}",
            "architectures to choose from": f"10^{count_log10(table):.1f}",
        }

    def report_figures(self) -> list:
        """Costs of samples of uniform choices and of proposals, and the nearest (or the first) proposal itself."""
        if not self._state or not len(self._state["logits"]):
            return []
        state, (targets, table) = self._state, self._targets_and_table()
        low, high = targets.bounds()
        bounds = dict(zip(targets.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
        seed = state["key"]["seed"]
        drawn = [sample(own, _DRAWN, keyed_generator(seed, "picture", n)) for n, own in enumerate(state["logits"])]
        cloud = table.of(self._uniform(table, seed))
        which = 0 if self.nearest is None else self.nearest
        name = "The first of the proposals" if self.nearest is None else "The proposal that the search came nearest to"
        choices = table.allowed.sum(1).tolist()
        blocks = [str(block) if count > 1 else f"<b>{block}</b> (fixed)" for block, count in enumerate(choices)]
        picture = probabilities_figure(state["logits"][which].softmax(-1), blocks, state["operations"])
        return [
            (
                "Space proposals",
                "What architectures cost that are drawn uniformly (grey) or from the proposals (blue); the green bands "
                f"are the targets: {targets.told()}.",
                proposal_costs_figure(state["costs"], cloud, table.of(torch.stack(drawn)), bounds),
            ),
            (
                "Proposal",
                f"{name}: the probability of each operation in each block. Framed: the most probable one.",
                picture,
            ),
        ]

    def _targets_and_table(self) -> tuple[Targets, CostTable]:
        key, state = self._state["key"], self._state
        values = torch.tensor(key["targets"], dtype=torch.float64)
        table = CostTable(tuple(state["costs"]), state["fixed"], state["table"], state["allowed"])
        return Targets(tuple(key["names"]), values, key["tolerance"]), table

    def state_dict(self) -> dict[str, Any]:
        return {"state": dict(self._state), "nearest": self.nearest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state, self.nearest = dict(state_dict["state"]), state_dict["nearest"]


def _same(first: Any, second: Any) -> bool:
    return first.equal(second) if isinstance(first, Tensor) else first == second
