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
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.methods.hournas_stages import REST, VITAL, Stage, options_in, stages_of
from src.methods.latency import LatencyProbe
from src.methods.operation_latency import with_latency
from src.methods.operation_search import OperationSearch
from src.networks.operations import SKIP
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.runtime.build import network_from
from src.runtime.ranks.agreement import gathered, rank
from src.runtime.seeds import keyed_generator
from src.spaces.cost_table import CostTable
from src.spaces.feasible import check_feasible, likeliest
from src.spaces.space_proposal import DISTANCES, cost_miss, pull, sample
from src.spaces.targets import targets_of
from src.spaces.uniform_feasible import uniform_feasible

SAMPLERS = ("gumbel", "feasible", "proposal")
CONTROLS = ("random_feasible", "random_proposal")
PICKS = ("likelihood", "error")
COST = "cost"  # in place of a distance to a proposal: the miss of the expected costs
_DRAWN_TOGETHER = 256  # random paths, until those that do not meet the targets are taken out


class HourNAS(OperationSearch):
    """Searches the operations of a mobile network in two stages, in one fit.

    Args:
        targets: what the found network is to cost, as `targets_of` takes them.
        tolerance: the largest miss of each target, as a share of it.
        priority: vital blocks first; False: all blocks together, for as many epochs.
        sampler: what draws the paths that are trained: "gumbel": theta, which is learnt; as baselines, that learn no
            theta and take the best of random paths: "feasible": uniformly what meets the targets, "proposal": the
            proposals. They train all blocks together, on all images, so that they make as many training steps.
        vital_epochs, other_epochs: of the first and the second stage.
        vital_hard, other_hard: whether a step of that stage runs one operation of each block; else all of them, mixed.
        inherit_weights: whether the second stage begins with the weights of the first.
        train_vital_weights: whether weights of vital blocks are trained on in the second stage.
        beta, distance: weight and form of the pull to the nearest proposal.
        arch_fraction: of the training images, which only architecture steps see.
        pick: "likelihood": the likeliest architecture that meets the targets; "error": the one of lowest validation
            error in the super-net of that one and `pick_samples` others, drawn from theta.
        controls: networks that are trained beside the found one for comparison: "random_feasible", one that meets the
            targets, and "random_proposal", one drawn from the proposals, with the vital blocks of the found one.
        latency_batch, latency_repeats: images a pass and passes of a measurement, where latency is a target.
        base, input_shape, settings: as `OperationSearch` has them.

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
        vital_epochs: int = 20,
        other_epochs: int = 40,
        vital_hard: bool = False,
        other_hard: bool = True,
        inherit_weights: bool = True,
        train_vital_weights: bool = True,
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
        check_whole("method.stage1.epochs", vital_epochs, 0)
        check_whole("method.stage2.epochs", other_epochs, 0)
        if vital_epochs + other_epochs == 0:
            raise UserError("method.stage1.epochs=0 and method.stage2.epochs=0 leave nothing to search")
        check_flag("method.stage1.hard", vital_hard)
        check_flag("method.stage2.hard", other_hard)
        self.inherit_weights = check_flag("method.stage2.inherit_weights", inherit_weights)
        self.train_vital_weights = check_flag("method.stage2.train_vital_weights", train_vital_weights)
        self.beta = check_range("method.stage2.beta", beta, 0, 1e6)
        self.distance = check_choice("method.stage2.distance", distance, (*DISTANCES, COST))
        self.arch_fraction = check_range("method.arch.fraction", arch_fraction, 0.01, 0.9)
        self.pick = check_choice("method.final.by", pick, PICKS)
        self.pick_samples = check_whole("method.final.samples", pick_samples, 1, 10**5)
        self.control_names = _checked_controls(controls)
        self.latency = LatencyProbe(latency_batch, latency_repeats)
        super().__init__(base, input_shape, **settings)
        space = self.space
        self.base_network = {"macs": space.macs(space.start), "params": space.params(space.start)}
        self._asked, self.tolerance = targets, tolerance
        self._take_costs(space.costs)
        first, second = Stage(VITAL, 0, vital_epochs, vital_hard), Stage(REST, vital_epochs, other_epochs, other_hard)
        self.stages = stages_of(space.vital, priority and self.learns, first, second)
        self.stage_number, self.fixed = 0, {}  # fixed: operations of blocks that earlier stages have decided
        self.proposals: Tensor | None = None  # (N, L, O) logits
        self.chosen: list[int] | None = None
        self.seconds_searched = 0.0
        self._paths: tuple[int, Tensor] | None = None
        self._begin_stage()
        self.network = self.fresh_network(self.config, 0)

    # costs and targets

    def _take_costs(self, costs: CostTable) -> None:
        """Aims at the targets that `costs` knows; latency joins them once it has been measured."""
        asked, self.costs = self._asked, costs
        if isinstance(asked, Mapping) and asked.get("latency") is not None and "latency" not in costs.names:
            check_range("method.targets.latency", asked["latency"], 0, 1e6)
            asked = {name: value for name, value in asked.items() if name != "latency"}
            if all(value is None for value in asked.values()):
                self.targets = None
                return
        self.targets = targets_of(asked, self.tolerance, self.base_network, costs)
        check_feasible(costs, self.targets)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if isinstance(self._asked, Mapping) and self._asked.get("latency") and "latency" not in self.costs.names:
            measured = with_latency(self.space, self.latency, self.device) if rank() == 0 else None
            self._take_costs(gathered(measured)[0])

    # stages

    @property
    def stage(self) -> Stage:
        return self.stages[self.stage_number]

    @property
    def learns(self) -> bool:
        """Whether theta is learnt."""
        return self.sampler == "gumbel"

    def stage_epoch(self) -> int:
        return self.current_epoch - self.stage.begin

    def schedule_epochs(self) -> int:
        return self.stage.epochs

    def _begin_stage(self) -> None:
        options = options_in(self.stage, self.space.vital, self.space.costs.allowed, self.fixed)
        self.set_options(options, self.stage_number)

    def stage_ends(self) -> bool:
        """Whether the epoch under way is the last of its stage."""
        return self.current_epoch + 1 == self.stage.end

    def on_last_stage(self) -> bool:
        return self.stage_number + 1 == len(self.stages)

    def open_costs(self) -> CostTable:
        """The cost table in which what earlier stages have decided cannot be chosen otherwise."""
        return self.costs.restricted(self.fixed)

    def next_stage(self) -> None:
        """Fixes the vital blocks as they stand now, and goes on with the others and the weights so far."""
        before, old = self.options, self.network
        path = self._path(self.current_choice())
        self.fixed = {block: own[place] for block, (own, place) in enumerate(zip(before, path, strict=True)) if own}
        self.stage_number += 1
        self._begin_stage()
        network = self.fresh_network(self.config, self.stage_number)
        if self.inherit_weights:
            network.load_state_dict(_inherited(old.state_dict(), path, network.state_dict()))
        self._freeze(network)
        self.replace_network(network, self.config)

    def _freeze(self, network: nn.Module) -> None:
        if not self.train_vital_weights:
            for block in self.fixed:
                network.blocks[block].requires_grad_(False)

    # what is drawn

    @property
    def hard(self) -> bool:
        return self.stage.hard

    def drawn(self, index: int) -> tuple[list[Tensor] | None, list[int] | None]:
        if self.learns:
            return super().drawn(index)
        if self._paths is None or self._paths[0] != self.current_epoch:
            count = self.trainer.num_training_batches
            self._paths = (self.current_epoch, self._random_paths(count, "paths", self.current_epoch))
        return None, self._path(self._paths[1][index].tolist())

    def _random_paths(self, count: int, *key: int | str) -> Tensor:
        """(count, L): as the sampler draws them; of the proposals with those that miss the targets among them."""
        generator = keyed_generator(self.seed, *key)
        if self.sampler == "feasible":
            return uniform_feasible(self.costs, self.targets, count, generator)
        return self._from_proposals(count, generator)

    def _from_proposals(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, L), each from a random proposal."""
        which = torch.randint(len(self.proposals), (count,), generator=generator)
        drawn = torch.stack([sample(logits, count, generator) for logits in self.proposals])
        return drawn[which, torch.arange(count)]

    def nearest_proposal(self) -> int:
        distance = DISTANCES[0] if self.distance == COST else self.distance
        return pull(self.probabilities(), self.proposals.softmax(dim=2), distance)[1]

    def architecture_loss(self, batch: tuple[Tensor, Tensor], theta: Tensor, step: int) -> Tensor:
        """The loss of drawn paths and, where there are proposals, beta times the pull to the nearest."""
        loss = super().architecture_loss(batch, theta, step)
        if self.proposals is None or not self.beta:
            return loss
        own = self.logits(theta).softmax(dim=1)
        if self.distance == COST:
            return loss + self.beta * cost_miss(own, self.open_costs(), self.targets)
        return loss + self.beta * pull(own, self.proposals.to(theta).softmax(dim=2), self.distance)[0]

    # what is picked

    def current_choice(self) -> list[int]:
        """The likeliest architecture that meets the targets; while only vital blocks are there, its vital blocks.

        So a stage never decides what leaves the targets out of reach.
        """
        if not self.learns:
            return self._random_paths(1, "picked", self.current_epoch)[0].tolist()
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
        choices = [] if not self.learns else [self.current_choice()]
        for number in range(64):
            generator = keyed_generator(self.seed, "final", number)
            if self.learns:
                drawn = sample(self.logits().cpu(), _DRAWN_TOGETHER, generator)
            elif self.sampler == "feasible":
                drawn = uniform_feasible(self.costs, self.targets, _DRAWN_TOGETHER, generator)
            else:
                drawn = self._from_proposals(_DRAWN_TOGETHER, generator)
            met = drawn[self.targets.met_by(drawn, self.costs)].tolist()
            choices += [choice for number, choice in enumerate(met) if choice not in [*met[:number], *choices]]
            if len(choices) > self.pick_samples:
                break
        return choices[: self.pick_samples + self.learns]

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
        return {"operations": _short(candidate.architecture["operations"])}

    def vital_network(self) -> nn.Module:
        """What is looked at for vital blocks: the base network; once the search has ended the found one."""
        return network_from(self.base) if self.chosen is None else self.calibrated(self.chosen)

    def controls(self) -> dict[str, dict[str, Any]]:
        made = {}
        for name in self.control_names:
            generator = keyed_generator(self.seed, "control", name)
            if name == "random_feasible":
                choice = uniform_feasible(self.costs, self.targets, 1, generator)[0]
            elif self.proposals is None:
                continue
            else:
                drawn = self._from_proposals(_DRAWN_TOGETHER, generator)
                met = drawn[self.targets.met_by(drawn, self.costs)]
                if not len(met):
                    continue
                choice = met[0]
            made[name.replace("_", "-")] = self.space.config(self.space.genotype(choice))
        return made

    def remark(self) -> str:
        """What was chosen, how it meets the targets, and what the search took."""
        if self.chosen is None:
            return "nothing was chosen"
        misses = self.targets.misses(self.costs.only(self.targets.names).of(torch.tensor(self.chosen))).tolist()
        told = ", ".join(f"{name} {100 * miss:+.1f} %" for name, miss in zip(self.targets.names, misses, strict=True))
        names = self.space.genotype(self.chosen)["operations"]
        return (
            f"found: {_short(names)}\n{sum(self.space.vital)} of {len(names)} blocks are vital; of the targets it "
            f"misses {told}; the search took {quantities.clock(self.seconds_searched)}"
        )

    def phase(self) -> str:
        number = f" ({self.stage_number + 1}/{len(self.stages)})" if len(self.stages) > 1 else ""
        return f"searching {self.stage.name}{number}"

    def report_facts(self) -> dict[str, str]:
        facts = {"targets": self.targets.told(), "vital blocks": f"{sum(self.space.vital)} of {len(self.space.vital)}"}
        for callback in self.trainer.callbacks:
            facts |= callback.facts() if hasattr(callback, "facts") else {}
        if self.chosen is not None:
            facts["found"] = _short(self.space.genotype(self.chosen)["operations"])
        if self.seconds_searched:
            facts["search"] = quantities.clock(self.seconds_searched)
        return facts

    def report_figures(self) -> list:
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["hournas"] = {
            "stage": self.stage_number,
            "fixed": dict(self.fixed),
            "options": [list(own) for own in self.options],
            "proposals": self.proposals,
            "chosen": self.chosen,
            "costs": {"names": list(self.costs.names), "fixed": self.costs.fixed, "table": self.costs.table},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["hournas"]
        self.stage_number, self.fixed = state["stage"], dict(state["fixed"])
        self.options, self.proposals, self.chosen = state["options"], state["proposals"], state["chosen"]
        costs = state["costs"]  # a latency is not measured twice
        self._take_costs(CostTable(tuple(costs["names"]), costs["fixed"], costs["table"], self.space.costs.allowed))
        self._freeze(self.network)


def _inherited(old: Mapping[str, Tensor], path: Sequence[int], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`fresh`, with what the path through the old super-net has in its place; fixed blocks hold one operation there."""
    state = dict(fresh)
    for name in fresh:
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[3] = str(path[int(parts[1])]) if parts[3] == "0" else "-"
        source = ".".join(parts)
        if source in old and old[source].shape == fresh[name].shape:
            state[name] = old[source]
    return state


def _short(operations: Sequence[str]) -> str:
    """Operations in a line: `k5e6 k3e1se skip`."""
    return " ".join(name.removeprefix("ir_").replace("_", "") for name in operations)


def _checked_controls(controls: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(controls, (list, tuple)):
        raise UserError(f"method.controls={controls!r} is not allowed; it must be a list of {', '.join(CONTROLS)}")
    return tuple(dict.fromkeys(check_choice("method.controls", name, CONTROLS) for name in controls))
