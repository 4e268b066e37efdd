"""ENCAS: cascades of trained networks, found by search on their stored outputs (https://arxiv.org/abs/2203.00888).

Nothing is trained. Each member of a pool says once what it makes of the validation images; then cascades are searched
whose first member answers the easy images and hands the others on, and the front of error against average cost is
tested once on the test images. The rule of a cascade stands in `src.cascades.thresholds`.

What the paper leaves open, or the released code does otherwise, is a named field of conf/method/encas.yaml.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.genotype import REPEATS
from src.cascades.imported import PARTS
from src.cascades.pool import COSTS, Pool
from src.cascades.thresholds import ThresholdGrid
from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.methods.cascade_facts import spelled
from src.methods.cascade_results import CascadeResults
from src.methods.encas_members import cascade_config
from src.methods.hypervolume_reference import checked_reference
from src.methods.pool_module import PoolModule
from src.reporting.candidates import Candidate, best_candidate
from src.runtime.architecture import FRONT
from src.runtime.checkpoints import save_whole
from src.runtime.members import WEIGHTS
from src.spaces.space import macs_of_bound

COLUMNS = {"latency": "latency_ms"}  # of candidates.csv, where an objective has another name there
MOST_SLOTS = 8
_REFERENCE_ERROR = 40.0  # percent, as published
_REFERENCE_ROOM = 1.1  # else the dearest cascade counts nothing: it would cost what the reference does


class ENCAS(PoolModule):
    """A pool, and the front of cascades that a callback finds.

    `search` stores the validation outputs, then runs a fit of one epoch without a step, in which the callback searches.
    `compare` stores the test outputs of the members of the front. A candidate is a cascade of the front.

    Args:
        slots: K, the most members of a cascade.
        levels: of thresholds, from 0 (always exits) to 1 (never does).
        objectives: "error" and one of "macs", "latency" and "params", both made small.
        ensemble: whether all members answer every image, without thresholds.
        repeats: of a member in one cascade: "refuse" takes the second for an empty slot; "charge" as the released code.
        max_macs: the budget of the chosen cascade, average MACs; below 10 a share of the dearest member's. None: the
            chosen one is that of the lowest error.
        thin: the front keeps a cascade where its validation accuracy, rounded to so many points, is higher than that of
            all cheaper ones. 0 or None: whatever is not dominated stays.
        reference: [error in percent, cost], of the hypervolume. None: 40 % and 1.1 times the cost of the K dearest
            members, so that every cascade is below it.
        memory_gb: that tables of the evaluation may take.
        settings: those of `PoolModule`.
    """

    many_candidates = True
    epochs = 0  # of training
    candidates_take_epochs = False

    def __init__(
        self,
        *args,
        slots: int = 5,
        levels: int = 51,
        objectives: Sequence[str] = ("error", "macs"),
        ensemble: bool = False,
        repeats: str = "refuse",
        max_macs: float | None = None,
        thin: float | None = 0.1,
        reference: Sequence[float] | None = None,
        memory_gb: float = 2,
        **settings,
    ) -> None:
        self.slots = check_whole("method.slots", slots, 1, MOST_SLOTS)
        self.grid = ThresholdGrid(levels)
        self.cost = _checked_objectives(objectives)
        self.objectives = ("error", COLUMNS.get(self.cost, self.cost))
        self.ensemble = check_flag("method.ensemble", ensemble)
        self.repeats = check_choice("method.repeats", repeats, REPEATS)
        self.max_macs = max_macs
        if max_macs is not None and macs_of_bound("method.max_macs", max_macs, 1) <= 0:
            raise UserError(f"method.max_macs={max_macs} is not allowed; it must be a number above 0, or null")
        self.thin = 0.0 if thin is None else check_range("method.thin", thin, 0, 100)
        self.given_reference = checked_reference(reference, "cost")
        self.memory = check_range("method.memory_gb", memory_gb, 1e-3, 2**20) * 2**30
        super().__init__(*args, measures_latency=self.cost == "latency", **settings)
        self.singles: list[float] = []  # errors of the members, in percent
        self.evaluations: tuple[int, int] | None = None  # cascades looked at, and at most; set by the callback
        self.exact: list[tuple[float, float]] | None = None  # error and cost of the exact front, where it is known
        self.best_so_far: tuple[float, float] | None = None  # lowest error and its MACs, while the search is under way
        self.most_macs: float | None = None  # the budget, once costs are known
        self.results: CascadeResults | None = None

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        self.store(trainer, data, PARTS[0], [given.name for given in self.given])
        trainer.fit_loop.max_epochs, trainer.limit_val_batches = 1, 0
        super().search(trainer, None, checkpoint)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.trainer.strategy.barrier()  # rank 0 has written what all read
        pool = self.pool(PARTS[0])
        self.members, self.most_macs = list(pool.members), self._budget(pool)
        pool.costs(self.cost)  # says which member has none
        if self.singles:
            self.take_singles(self.singles)

    def train_dataloader(self) -> "_NoBatch":
        return _NoBatch()

    def val_dataloader(self) -> list:
        return []

    def _budget(self, pool: Pool) -> float | None:
        """The most average MACs of the chosen cascade; raises `UserError` where not even the cheapest member has it."""
        if self.max_macs is None:
            return None
        macs = pool.costs("macs")
        most = macs_of_bound("method.max_macs", self.max_macs, macs.max())
        if most < macs.min():
            raise UserError(
                f"method.max_macs={self.max_macs}: the cheapest member, {pool.names[int(macs.argmin())]}, has "
                f"{macs.min():,.0f} MACs, and the budget is {most:,.0f}"
            )
        return most

    # for the callback

    def evaluator(self, pool: Pool) -> CascadeEvaluator:
        """Evaluates cascades of `pool`, on the trainer's device."""
        device = self.trainer.strategy.root_device
        settings = {} if device.type == "cpu" else {"device": str(device)}
        return CascadeEvaluator(
            pool, self.slots, self.grid, self.memory, self.repeats, threads=torch.get_num_threads(), **settings
        )

    def reference(self, pool: Pool) -> tuple[float, float]:
        """The point (error in percent, cost) up to which a hypervolume is measured."""
        dearest = np.sort(pool.costs(self.cost))[-self.slots :]
        return self.given_reference or (_REFERENCE_ERROR, _REFERENCE_ROOM * float(dearest.sum()))

    def take_singles(self, errors: Sequence[float]) -> None:
        """Notes the errors of the members, and the best of them, with which the report compares."""
        self.singles = list(errors)
        macs = np.array([member.macs for member in self.members])
        best = self.members[int(np.lexsort((macs, np.array(self.singles)))[0])]
        self.base_network = {"name": best.name, "error": min(self.singles), "macs": best.macs, "params": best.params}

    # the result

    def chosen(self) -> Candidate | None:
        """The cascade of lowest validation error, within the budget where there is one."""
        most = self.most_macs
        return best_candidate([c for c in self.candidates if most is None or c.macs <= most])

    def candidate_config(self, candidate: Candidate) -> dict[str, Any] | None:
        """The model config of a cascade; None where a member is stored outputs only, or the rule is another one."""
        if "thresholds" not in candidate.architecture:
            return None
        members = {member.name: member for member in self.members}
        chosen = [members[name] for name in candidate.architecture["members"]]
        return cascade_config(chosen, candidate.architecture["thresholds"])

    def architecture(self) -> dict[str, Any] | None:
        chosen = self.chosen()
        return self.candidate_config(chosen) if chosen else None

    def compare(self, recipe, name: str, data, loggers, progress) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """The rows of the final table and the found network; nothing is trained, and `recipe` is not used.

        The weights of all members of the front are kept, once, in `front/weights.pt`: any cascade of it can be tested.
        """
        self.results = CascadeResults(self)
        self.store(self.trainer, data, PARTS[1], self.results.names)
        if rank_zero_only.rank != 0:
            return [], None
        rows = self.results.measured(self.run_folder / "front_test.csv")
        weights = self.results.weights()
        if weights:
            save_whole(weights, self.run_folder / FRONT / WEIGHTS)
        return rows, self.results.network(weights)

    def remark(self) -> str:
        facts = self.results.facts() if self.results else {}
        return "; ".join([self._looked_at(), *(f"{name}: {text}" for name, text in facts.items())])

    def report_facts(self) -> dict[str, str]:
        """What the remark says, for the page."""
        if not self.ended or not self.candidates:
            return {}
        return {"searched": self._looked_at()} | (self.results or CascadeResults(self)).facts()

    @property
    def kind(self) -> str:
        return "ensemble" if self.ensemble else "cascade"

    def _looked_at(self) -> str:
        count = self.evaluations[0] if self.evaluations else 0
        return f"{count:,} {self.kind}{' was' if count == 1 else 's were'} looked at"

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        """What a candidate is, for the table of the report."""
        return {self.kind: spelled(candidate.architecture)}

    def report_figures(self) -> list:
        if self.chosen() is None:  # none so far that is within the budget
            return []
        return (self.results or CascadeResults(self)).figures()

    def phase(self) -> str:
        return f"searching {self.kind}s"

    def progress(self) -> tuple[int, int] | None:
        return self.evaluations

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates)

    def on_train_epoch_end(self) -> None:
        """There was no step, and there is no loss."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint |= {"singles": self.singles, "evaluations": self.evaluations, "exact": self.exact}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.singles, self.evaluations, self.exact = (checkpoint[key] for key in ("singles", "evaluations", "exact"))


class _NoBatch:
    """A loader of one batch that nobody asks for."""

    def __len__(self) -> int:
        return 1

    def __iter__(self):
        yield torch.zeros(1)


def _checked_objectives(objectives: Sequence[str]) -> str:
    """The cost that is an objective beside the error."""
    known = isinstance(objectives, (list, tuple))
    for name in objectives if known else ():
        check_choice("method.objectives", name, ("error", *COSTS))
    costs = [name for name in objectives if name != "error"] if known else []
    if not known or len(objectives) != 2 or len(costs) != 1:
        raise UserError(
            f"method.objectives={objectives!r} is not allowed; it must be error and one of {', '.join(COSTS)}, such as "
            "[error, macs]"
        )
    return costs[0]
