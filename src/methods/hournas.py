"""HourNAS: vital blocks first, then the rest under the budget (Yang et al. 2021, https://arxiv.org/abs/2005.14446).

A few blocks lie on every path from input to output, and what they are decides most. So the operations of these vital
blocks are searched first, in a super-net that has no other blocks; then the others are put in, the vital ones stay, and
only the others are searched, in the part of the space that the budget can pay: *space proposals*, which are fitted to
the costs before anything is trained, and to the nearest of which the search is pulled.

There is no public search code, and of the paper only the abstract and a released network were at hand: how long, how
fast, and the loss of the proposals are a reconstruction, and stand as named fields in conf/method/hournas.yaml.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice, check_choices, check_flag, check_range, check_whole
from src.methods.hournas_stages import VITAL
from src.methods.latency import LatencyProbe
from src.methods.operation_budget import OperationBudget
from src.methods.path_draws import different_ones, from_proposals
from src.methods.staged_search import StagedSearch
from src.networks.operations import SKIP
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.reporting.operation_figures import short_operations
from src.runtime.build import network_from
from src.runtime.ranks.agreement import gathered, rank
from src.runtime.seeds import keyed_generator, keyed_seed
from src.spaces.cost_table import CostTable
from src.spaces.feasible import likeliest
from src.spaces.space_proposal import DISTANCES, cost_miss, pull, sample
from src.spaces.targets import Targets
from src.spaces.uniform_feasible import uniform_feasible

SAMPLERS = ("gumbel", "feasible", "proposal")
CONTROLS = ("random_feasible", "random_proposal")
PICKS = ("likelihood", "error")
COST = "cost"  # in place of a distance to a proposal: the miss of the expected costs


class HourNAS(StagedSearch):
    """Searches the operations of a mobile network in two stages, in one fit.

    Args:
        targets: what the found network is to cost, as `targets_of` takes them.
        tolerance: the largest miss of each target, as a share of it.
        sampler: what draws the paths that are trained: "gumbel": theta, which is learnt; as baselines, that learn no
            theta and take the best of random paths: "feasible": uniformly what meets the targets, "proposal": the
            proposals. They train all blocks together, on all images, so that they make as many training steps.
        beta, distance: weight and form of the pull to the nearest proposal.
        arch_fraction: of the training images, which only architecture steps see.
        pick: "likelihood": the likeliest architecture that meets the targets; "error": the one of lowest validation
            error in the super-net of that one and `pick_samples` others, drawn from theta.
        controls: networks that are trained beside the found one for comparison: "random_feasible", one that meets the
            targets, and "random_proposal", one drawn from the proposals, with the vital blocks of the found one.
        latency_batch, latency_repeats: images a pass and passes of a measurement, where latency is a target.
        priority, base, input_shape, settings: as `StagedSearch` has them; a baseline has one stage.

    Raises:
        UserError: an argument that is not allowed, or targets that no architecture meets.
    """

    many_candidates = True

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        targets: Mapping[str, float | None],
        tolerance: float = 0.05,
        priority: bool = True,
        sampler: str = "gumbel",
        beta: float = 0.01,
        distance: str = "squared",
        arch_fraction: float = 0.2,
        pick: str = "likelihood",
        pick_samples: int = 64,
        controls: Sequence[str] = CONTROLS,
        latency_batch: int = 1,
        latency_repeats: int = 20,
        **settings,
    ) -> None:
        check_flag("method.priority", priority)
        self.sampler = check_choice("method.sampler", sampler, SAMPLERS)
        self.beta = check_range("method.stage2.beta", beta, 0, 1e6)
        self.distance = check_choice("method.stage2.distance", distance, (*DISTANCES, COST))
        self.arch_fraction = check_range("method.arch.fraction", arch_fraction, 0.01, 0.9)
        self.pick = check_choice("method.final.by", pick, PICKS)
        self.pick_samples = check_whole("method.final.samples", pick_samples, 1, 10**5)
        self.control_names = check_choices("method.controls", controls, CONTROLS)
        probe = LatencyProbe(latency_batch, latency_repeats)
        super().__init__(base, input_shape, priority=priority and self.learns, **settings)
        self.budget = OperationBudget(self.space, targets, tolerance, probe)
        self.base_network = self.budget.base
        self.proposals: Tensor | None = None  # (N, L, O) logits
        self.chosen: list[int] | None = None
        self.seconds_searched = 0.0
        self._paths: tuple[int, Tensor] | None = None  # of the epoch, one a step

    # costs and targets

    @property
    def costs(self) -> CostTable:
        return self.budget.costs

    @property
    def targets(self) -> Targets:
        return self.budget.targets

    def open_costs(self) -> CostTable:
        """The cost table in which what earlier stages have decided cannot be chosen otherwise."""
        return self.costs.restricted(self.fixed)

    # what is drawn

    @property
    def learns(self) -> bool:
        """Whether theta is learnt."""
        return self.sampler == "gumbel"

    def drawn(self, index: int) -> tuple[list[Tensor] | None, list[int] | None]:
        if self.learns:
            return super().drawn(index)
        if self._paths is None or self._paths[0] != self.current_epoch:
            count = self.trainer.num_training_batches
            self._paths = (self.current_epoch, self._random_paths(count, "paths", self.current_epoch))
        return None, self._path(self._paths[1][index].tolist())

    def _random_paths(self, count: int, *key: int | str) -> Tensor:
        return self._draw(count, keyed_generator(self.seed, *key))

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Choices (count, L) as the sampler draws them, with those that miss the targets unless it is "feasible"."""
        if self.learns:
            return sample(self.logits().cpu(), count, generator)
        if self.sampler == "feasible":
            return uniform_feasible(self.costs, self.targets, count, generator)
        return from_proposals(self.proposals, count, generator)

    def nearest_proposal(self) -> int:
        distance = DISTANCES[0] if self.distance == COST else self.distance
        return pull(self.probabilities(), self.proposals.softmax(dim=2), distance)[1]

    def architecture_loss(self, batch: tuple[Tensor, Tensor], theta: Tensor, step: int) -> Tensor:
        """The loss of drawn paths and, with all blocks, beta times the pull to the nearest proposal or to the costs."""
        loss = super().architecture_loss(batch, theta, step)
        if not self.beta or self.stage.name == VITAL:
            return loss
        own = self.logits(theta).softmax(dim=1)
        if self.distance == COST:
            return loss + self.beta * cost_miss(own, self.open_costs(), self.targets)
        if self.proposals is None:
            return loss
        return loss + self.beta * pull(own, self.proposals.to(theta).softmax(dim=2), self.distance)[0]

    # what is picked

    def current_choice(self) -> list[int]:
        """The likeliest architecture that meets the targets; while only vital blocks are there, its vital blocks.

        So a stage never decides what leaves the targets out of reach.
        """
        if not self.learns:
            return self._random_paths(1, "picked", self.current_epoch)[0].tolist()
        return gathered(self._likeliest() if rank() == 0 else None)[0]  # of equally likely ones, all take the same

    def _likeliest(self) -> list[int]:
        logs = self.logits().log_softmax(dim=1).cpu()
        if self.stage.name == VITAL:
            with suppress(UserError):  # leave room for the other blocks, where that can be had
                return likeliest(logs, self._without_skip(), self.targets).tolist()
        return likeliest(logs, self.open_costs(), self.targets).tolist()

    def _without_skip(self) -> CostTable:
        allowed = self.costs.allowed.clone()
        allowed[:, [number for number, name in enumerate(self.space.operations) if name == SKIP]] = False
        return replace(self.costs, allowed=allowed)

    def final_choices(self) -> list[list[int]]:
        """What the last epoch may pick, each once; none where the likeliest is to be taken."""
        if self.learns and self.pick == "likelihood":
            return []
        seed = keyed_seed(self.seed, "final")
        drawn = different_ones(self._draw, self.pick_samples, self.open_costs(), self.targets, seed)
        likeliest_one = [self.current_choice()] if self.learns else []
        return likeliest_one + [choice for choice in drawn if choice not in likeliest_one]

    def candidate(self, choice: Sequence[int], error: float, seconds: float) -> Candidate:
        """An evaluated path; blocks that the super-net of today leaves out are left out of it."""
        present = torch.tensor([bool(own) for own in self.options])
        table = self.costs.only(["macs", "params"])
        taken = table.table[:, torch.arange(len(choice)), torch.as_tensor(choice)]
        macs, params = (table.fixed + taken[:, present].sum(dim=1)).tolist()
        return Candidate(
            id=len(self.candidates),
            parent=None,
            step=self.current_epoch,
            error=error,
            macs=int(macs),
            params=int(params),
            seconds=seconds,
            architecture={"operations": self.network.chosen_operations(self._path(choice))},
        )

    # for the user

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.stages[-1].end
        data.reserve(self.arch_fraction if self.learns else 0, "method.arch.fraction")
        super().search(trainer, data, checkpoint)
        self.seconds_searched = self.seconds
        data.reserve(0, "method.arch.fraction")

    def architecture(self) -> dict[str, Any]:
        """What was chosen; the base as long as nothing was."""
        return self.base if self.chosen is None else self.space.config(self.space.genotype(self.chosen))

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self.space.config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        return {"operations": short_operations(candidate.architecture["operations"])}

    def vital_network(self) -> nn.Module:
        """What is looked at for vital blocks: the base network; once the search has ended the found one."""
        return network_from(self.base) if self.chosen is None else self.calibrated(self.chosen)

    def controls(self) -> dict[str, dict[str, Any]]:
        made: dict[str, Any] = {}
        for name in self.control_names:
            if name == "random_feasible":
                generator = keyed_generator(self.seed, "control", name)
                made["random-feasible"] = uniform_feasible(self.costs, self.targets, 1, generator)[0]
            elif self.proposals is not None:
                seed = keyed_seed(self.seed, "control", name)
                drawn = different_ones(partial(from_proposals, self.proposals), 1, self.costs, self.targets, seed)
                if drawn:
                    made["random-proposal"] = drawn[0]
        return {name: self.space.config(self.space.genotype(choice)) for name, choice in made.items()}

    def remark(self) -> str:
        """What was chosen, how it meets the targets, and what the search took."""
        if self.chosen is None:
            return "nothing was chosen"
        told = ", ".join(f"{name} {100 * miss:+.1f} %" for name, miss in self.budget.misses(self.chosen).items())
        names = self.space.genotype(self.chosen)["operations"]
        return (
            f"found: {short_operations(names)}\n{sum(self.space.vital)} of {len(names)} blocks are vital; against the "
            f"targets: {told}; the search took {quantities.clock(self.seconds_searched)}"
        )

    def report_facts(self) -> dict[str, str]:
        facts = {"targets": self.targets.told(), "vital blocks": f"{sum(self.space.vital)} of {len(self.space.vital)}"}
        for callback in self.trainer.callbacks:
            facts |= callback.facts() if hasattr(callback, "facts") else {}
        if self.chosen is not None:
            facts["found"] = short_operations(self.space.genotype(self.chosen)["operations"])
        if self.seconds_searched:
            facts["search"] = quantities.clock(self.seconds_searched)
        return facts

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["hournas"] = {
            "proposals": self.proposals,
            "chosen": self.chosen,
            "costs": self.budget.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["hournas"]
        self.proposals, self.chosen = state["proposals"], state["chosen"]
        self.budget.load(state["costs"])
