"""ENCAS: cascades of trained networks, found by search on their stored outputs (https://arxiv.org/abs/2203.00888).

Nothing is trained. Each member of a pool says once what it makes of the validation images; then cascades are searched
whose first member answers the easy images and hands the others on, and the front of error against average cost is
tested once on the test images. The rule of a cascade stands in `src.cascades.thresholds`.

What the paper leaves open, or the released code does otherwise, is a named field of conf/method/encas.yaml.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from src.cascades.evaluation import CascadeEvaluator
from src.cascades.genotype import REPEATS
from src.cascades.imported import PARTS, read_header, read_outputs
from src.cascades.pool import COSTS, Member, Pool
from src.cascades.pool_folder import PoolFolder
from src.cascades.thresholds import ThresholdGrid
from src.errors import UserError, check_choice, check_flag, check_range, check_text, check_whole
from src.methods.cascade_results import CascadeResults
from src.methods.cascade_testing import measured_macs
from src.methods.encas_members import PartOfData, cascade_config, member_network, member_of
from src.methods.latency import LatencyProbe
from src.methods.search_module import SearchModule
from src.networks.cascade import Cascade
from src.reporting.candidates import Candidate, best_candidate
from src.runtime.members import GivenMember, given_members
from src.spaces.space import macs_of_bound

COLUMNS = {"latency": "latency_ms"}  # of candidates.csv, where an objective has another name there
MOST_SLOTS = 8
_REFERENCE_ERROR = 40.0  # percent, as published


class ENCAS(SearchModule):
    """A pool of trained networks, their stored outputs, and the front of cascades that a callback finds.

    `search` runs each member over the validation images (`trainer.predict`), then a fit of one epoch without a step, in
    which a callback searches. `compare` runs the members of the front over the test images.

    Args:
        members: as `src.runtime.members.given_members` takes them.
        folder: the run folder; the outputs go to `pool/validation` and `pool/test` in it.
        split: of stored outputs in one set, how many of the first are for the search.
        resumed: the folder of the run that goes on, or None; what it has stored is not stored again.
        slots: K, the most members of a cascade.
        levels: of thresholds, from 0 (always exits) to 1 (never does).
        objectives: "error" and one of "macs", "latency" and "params", both made small.
        ensemble: whether all members answer every image, without thresholds.
        repeats: of a member in one cascade: "refuse" takes the second for an empty slot; "charge" as the released code.
        max_macs: the budget of the chosen cascade, average MACs; below 10 a share of the dearest member's. None: the
            chosen one is that of the lowest error.
        thin: the front keeps a cascade where its validation accuracy, rounded to so many points, is higher than that of
            all cheaper ones. 0 or None: whatever is not dominated stays.
        reference: [error in percent, cost], of the hypervolume. None: 40 % and the cost of the K dearest members, which
            no cascade exceeds.
        memory_gb: that tables of the evaluation may take.
        latency_batch, latency_repeats: images a pass and passes of a measurement, where latency is an objective.
        base, input_shape, settings: as `SearchModule` has them; there is no base network here.
    """

    many_candidates = True
    epochs = 0  # of training

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        members: Sequence[Any],
        folder: str,
        split: int | None = None,
        resumed: str | None = None,
        slots: int = 5,
        levels: int = 51,
        objectives: Sequence[str] = ("error", "macs"),
        ensemble: bool = False,
        repeats: str = "refuse",
        max_macs: float | None = None,
        thin: float | None = 0.1,
        reference: Sequence[float] | None = None,
        memory_gb: float = 2,
        latency_batch: int = 1,
        latency_repeats: int = 20,
        **settings,
    ) -> None:
        self.slots = check_whole("method.slots", slots, 1, MOST_SLOTS)
        self.grid = ThresholdGrid(levels)
        self.cost = _checked_objectives(objectives)
        self.objectives = ("error", COLUMNS.get(self.cost, self.cost))
        self.ensemble = check_flag("method.ensemble", ensemble)
        self.repeats = check_choice("method.repeats", repeats, REPEATS)
        self.max_macs = max_macs
        if max_macs is not None:
            macs_of_bound("method.max_macs", max_macs, 1)
        self.thin = 0.0 if thin is None else check_range("method.thin", thin, 0, 100)
        self.given_reference = _checked_reference(reference)
        self.memory = check_range("method.memory_gb", memory_gb, 1e-3, 2**20) * 2**30
        self.latency = LatencyProbe(latency_batch, latency_repeats)
        self.given = given_members(members, split)
        self.resumed = resumed is not None
        root = Path(check_text("method.module.folder", folder)) / "pool"
        self.folders = {part: PoolFolder(root / part) for part in PARTS}
        super().__init__(base, input_shape, **settings)
        if getattr(self.task, "targets", "class") != "class":
            raise UserError("method=encas needs task=classification: a cascade answers with one class an image")
        self.part = PARTS[0]  # of the samples, that is stored
        self.storing: Member | None = None
        self.evaluations: tuple[int, int] | None = None  # cascades evaluated, and at most; set by the callback
        self.members: list[Member] = []  # with their costs on the validation part
        self.run_folder = Path(folder)
        self.results: CascadeResults | None = None
        self._idle = self.network
        self.singles: list[float] = []  # errors of the members, in percent
        self.most_macs: float | None = None  # the budget, once costs are known
        self.best_so_far: tuple[float, float] | None = None  # lowest error and its MACs, while the search is under way

    def network_of(self, config: dict[str, Any]) -> nn.Module:
        """What is in the place of a network while none is needed; a fit cannot be without a parameter."""
        return nn.Linear(1, 1, bias=False)

    # the outputs of members

    @property
    def folder(self) -> PoolFolder:
        return self.folders[self.part]

    def store(self, trainer: pl.Trainer, data: pl.LightningDataModule, part: str, names: Sequence[str]) -> None:
        """Stores the outputs of the members `names` on a part, "validation" or "test", on all ranks together.

        What a resumed run has stored already is left as it is. One network is in memory at a time.
        """
        self.part = part
        self._fresh = not self.resumed
        todo = [given for given in self.given if given.name in names]
        todo = [given for given in todo if self._fresh or not self.folder.finished(given.name)]
        for number, given in enumerate(todo, 1):
            self.doing = f"{part} outputs of {given.name} ({number}/{len(todo)})"
            if given.config is None:
                if rank_zero_only.rank == 0:
                    self._import(given)
            else:
                self.network = member_network(given, self.input_shape)
                self.storing = self._costed(given)
                if isinstance(self.network, Cascade):
                    self.network.reset_counts()
                trainer.predict(self, datamodule=PartOfData(data, part), return_predictions=False)
                self.network = self._idle

    def _costed(self, given: GivenMember) -> Member:
        known = next((member for member in self.members if member.name == given.name), None)
        return known or member_of(given, self.network, self.input_shape)

    def _import(self, given: GivenMember) -> None:
        path, rows = given.stored[self.part]
        outputs = read_outputs(path, given.name).part(rows)
        if not len(outputs.labels):
            raise UserError(f"method.split leaves no sample of {path} for the {self.part} part")
        self._begin(len(outputs.labels), outputs.softmax.shape[1])
        self.folder.add(read_header(path), outputs)

    def _begin(self, samples: int, classes: int) -> None:
        self.folder.begin(samples, classes, fresh=self._fresh)
        self._fresh = False

    def begin_member(self, samples: int) -> None:
        """Called on rank 0 before a member runs over `samples` images."""
        self._begin(samples, self.task.num_classes)
        self.folder.begin_member(self.storing)

    def finish_member(self) -> None:
        """Called on all ranks once a member has run over all of them, with its network still there."""
        costs = {}
        if isinstance(self.network, Cascade):
            costs["macs"] = measured_macs(self.network, self.input_shape)
        if rank_zero_only.rank == 0:
            if self.cost == "latency" and self.part == PARTS[0]:
                costs["latency_ms"] = self.latency.measure(self.network, self.input_shape, self.device)
            self.folder.finish_member(self.storing.name, costs)

    def predict_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        return self(batch[0])

    def pool(self, part: str, names: Sequence[str] | None = None) -> Pool:
        """The stored outputs of a part; of the members `names`, or of all."""
        configs = {given.name: given for given in self.given if names is None or given.name in names}
        kept = {member.name: member for member in self.folders[part].members()}
        missing = next((name for name in configs if name not in kept), None)
        if missing is not None:
            raise UserError(f"member {missing}: its {part} outputs are not stored")
        return self.folders[part].pool([_with_network(kept[name], given) for name, given in configs.items()])

    # the search

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        self.store(trainer, data, PARTS[0], [given.name for given in self.given])
        trainer.fit_loop.max_epochs, trainer.limit_val_batches = 1, 0
        super().search(trainer, None, checkpoint)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.trainer.strategy.barrier()  # rank 0 has written what all read
        pool = self.pool(PARTS[0])
        self.members, self.most_macs = list(pool.members), self.budget(pool)
        pool.costs(self.cost)
        if self.singles:
            self.take_base()

    def train_dataloader(self) -> "_NoBatch":
        return _NoBatch()

    def val_dataloader(self) -> list:
        return []

    def evaluator(self, pool: Pool, threads: int = 1) -> CascadeEvaluator:
        return CascadeEvaluator(pool, self.slots, self.grid, self.memory, self.repeats, threads)

    def budget(self, pool: Pool) -> float | None:
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

    def reference(self, pool: Pool) -> tuple[float, float]:
        """The point (error in percent, cost) up to which a hypervolume is measured."""
        dearest = np.sort(pool.costs(self.cost))[-self.slots :]
        return self.given_reference or (_REFERENCE_ERROR, float(dearest.sum()))

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

    # the report

    def compare(self, recipe, name: str, data, loggers, progress) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """The rows of the final table and the found network; nothing is trained, and `recipe` is not used."""
        self.results = CascadeResults(self)
        self.store(self.trainer, data, PARTS[1], self.results.names)
        if rank_zero_only.rank != 0:
            return [], None
        rows = self.results.measured(self.run_folder / "front_test.csv")
        return rows, self.results.network()

    def take_base(self) -> None:
        """Notes the best single member, with which the report compares."""
        errors = np.array(self.singles)
        best = self.members[int(np.lexsort((np.array([member.macs for member in self.members]), errors))[0])]
        self.base_network = {"name": best.name, "error": min(self.singles), "macs": best.macs, "params": best.params}

    def remark(self) -> str:
        text = f"{self.evaluations[0]:,} cascades were looked at" if self.evaluations else "no cascade was looked at"
        return f"{text}; {self.results.remark()}" if self.results else text

    def phase(self) -> str:
        return "searching cascades"

    def progress(self) -> tuple[int, int] | None:
        return self.evaluations

    def report_figures(self) -> list:
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates)

    def on_train_epoch_end(self) -> None:
        """There was no step, and there is no loss."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["singles"], checkpoint["evaluations"] = self.singles, self.evaluations

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._idle = self.network
        self.singles, self.evaluations = checkpoint["singles"], checkpoint["evaluations"]


class _NoBatch:
    """A loader of one batch that nobody asks for."""

    def __len__(self) -> int:
        return 1

    def __iter__(self):
        yield torch.zeros(1)


def _checked_objectives(objectives: Sequence[str]) -> str:
    """The cost that is an objective beside the error."""
    known = ("error", *COSTS)
    if not isinstance(objectives, (list, tuple)) or len(objectives) != 2 or "error" not in objectives:
        raise UserError(
            f"method.objectives={objectives!r} is not allowed; it must be error and one of {', '.join(COSTS)}: "
            "[error, macs]"
        )
    for name in objectives:
        check_choice("method.objectives", name, known)
    costs = [name for name in objectives if name != "error"]
    if len(costs) != 1:
        raise UserError(f"method.objectives={list(objectives)} names error twice; give [error, macs]")
    return costs[0]


def _checked_reference(reference: Sequence[float] | None) -> tuple[float, float] | None:
    if reference is None:
        return None
    right = isinstance(reference, (list, tuple)) and len(reference) == 2
    right = right and all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1e30 for v in reference)
    if not right:
        raise UserError(
            f"method.reference={reference!r} is not allowed; it must be null or [error in percent, cost], both above 0"
        )
    return float(reference[0]), float(reference[1])


def _with_network(member: Member, given: GivenMember) -> Member:
    weights = None if given.weights is None else str(given.weights)
    return replace(member, config=given.config, weights=weights)
