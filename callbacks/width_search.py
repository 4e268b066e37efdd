"""Searches the widths of a trained super-net: under a budget of MACs, or the whole front of error against MACs.

When to use: with `method=cafenet`. Cost: `evaluations` times `k_eval` forward passes over the calibration batches and
one over the validation images, shared by all processes; no training.
"""

import math
import os
import time
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from callbacks.flops_bin_sampling import MOST_CANDIDATES, FlopsBinSampling
from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError, check_choice, check_flag, check_range, check_text, check_whole
from src.evolution import prior
from src.evolution.evolution import Evolution
from src.evolution.grid import Band, BinGrid, Row, as_rows
from src.evolution.random_search import RandomSearch
from src.evolution.searcher import Searcher, Values, replayed
from src.evolution.uniform import UniformScaling
from src.methods.cafenet import SUPERNET, CafeNet
from src.methods.latency import LatencyProbe
from src.methods.width_evaluation import REDUCTIONS
from src.reporting.candidates import Candidate
from src.runtime.ranks.agreement import gathered
from src.runtime.ranks.sharding import sharded_map
from src.runtime.seeds import keyed_generator, keyed_seed

SEARCHERS = ("evolution", "random", "uniform")
OBJECTIVES = ("error", "macs", "latency")
_COLUMNS = {"latency": "latency_ms"}  # of candidates.csv, where they have another name
_TOGETHER = 8  # widths a process evaluates until the ranks tell each other
_POPULATION, _FRONT_POPULATION = 20, 40
_SAVE_EVERY = 60.0  # seconds


class WidthSearch(pl.Callback):
    """Runs in the epoch after the super-net's last one; a candidate is a width, judged by its best channel set.

    Its state are the candidates of the module: a resumed search is told them and stands where it stood.

    Args:
        folder: the run folder, where the super-net is kept.
        searcher: "evolution" (CafeNet-E), "random" (CafeNet-R; the labels are the paper's, the settings are not known)
            or "uniform": all widths in proportion.
        objectives: of the evolution, all made small: "error", "macs", "latency". None: error under a budget, error and
            MACs without one.
        population, evaluations: rows of the first generation, and in all. population None: 20, and 40 for a front.
        parents, crossover, mutation, resample: as `Evolution` has them.
        prior: whether the first generation comes of the losses of training, as in BCNet (`src.evolution.prior`).
        k_eval: candidates of a width that are evaluated.
        width_reduce: what of them stands for the width: see `WidthEvaluation`.
        latency_batch, latency_repeats: images a pass and passes of a latency measurement.
    """

    def __init__(
        self,
        folder: str,
        searcher: str = "evolution",
        objectives: Sequence[str] | None = None,
        population: int | None = None,
        evaluations: int = 400,
        parents: int | None = None,
        crossover: float = 0.9,
        mutation: float | None = None,
        resample: float = 0.25,
        prior: bool = False,
        k_eval: int = 4,
        width_reduce: str = "min_train_loss",
        latency_batch: int = 1,
        latency_repeats: int = 20,
    ) -> None:
        self.folder = check_text("method.callbacks.width_search.folder", folder)
        self.searcher = check_choice("method.searcher", searcher, SEARCHERS)
        self.objectives = _checked_objectives(objectives)
        self.population = None if population is None else check_whole("method.population", population, 2, 10**6)
        self.evaluations = check_whole("method.evaluations", evaluations, 1)
        self.parents = None if parents is None else check_whole("method.parents", parents, 2)
        self.crossover = check_range("method.crossover", crossover, 0, 1)
        self.mutation = None if mutation is None else check_range("method.mutation", mutation, 0, 1)
        self.resample = check_range("method.resample", resample, 0, 1)
        self.prior = check_flag("method.prior", prior)
        self.k_eval = check_whole("method.k_eval", k_eval, 1, MOST_CANDIDATES)
        self.width_reduce = check_choice("method.width_reduce", width_reduce, REDUCTIONS)
        self.latency = LatencyProbe(latency_batch, latency_repeats)

    def __repr__(self) -> str:
        return f"WidthSearch(searcher={self.searcher!r}, population={self.population}, evaluations={self.evaluations})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, CafeNet):
            raise UserError(f"WidthSearch needs method=cafenet, not {type(pl_module).__name__}")
        if stage == "fit":
            self._check(pl_module)
            if "latency" in self._objectives(pl_module):
                pl_module.objectives = tuple(_COLUMNS.get(name, name) for name in self._objectives(pl_module))

    def _check(self, pl_module: CafeNet) -> None:
        """Raises `UserError` for what does not go together, before anything is trained."""
        if not pl_module.trained and not pl_module.nothing_to_search and self.searcher != "uniform":
            raise UserError(
                "method.epochs=0 leaves the super-net untrained: give method.supernet=<run folder>, or "
                "method.searcher=uniform, which needs none"
            )
        if self.prior and not pl_module.budgeted:
            raise UserError("method.prior=true needs a budget, method.max_macs: it is drawn for one")

    def _objectives(self, pl_module: CafeNet) -> tuple[str, ...]:
        return self.objectives or (("error",) if pl_module.budgeted else ("error", "macs"))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: CafeNet) -> None:
        if not pl_module.searching() or pl_module.ended:
            return
        if pl_module.trained:
            self._keep_supernet(trainer, pl_module)
        self._search(trainer, pl_module)
        pl_module.end_search()

    def _keep_supernet(self, trainer: pl.Trainer, pl_module: CafeNet) -> None:
        sampler = pl_module.callback(FlopsBinSampling)
        if pl_module.sampling_state is not None:  # the prior, here or in a later search, asks for them
            for name in ("losses", "steps"):
                getattr(sampler.statistics, name).copy_(pl_module.sampling_state["statistics"][name])
        sampling = sampler.state_dict()  # asks all ranks
        if trainer.is_global_zero:
            pl_module.keep_supernet(os.path.join(self.folder, SUPERNET), sampling)

    def _search(self, trainer: pl.Trainer, pl_module: CafeNet) -> None:
        self._sharing = pl_module.callback(FlopsBinSampling).sharing
        self._evaluation = pl_module.evaluation(self.width_reduce)
        objectives = self._objectives(pl_module)
        searcher = self._searcher_of(pl_module, len(objectives))
        known = {_row(pl_module, c): _values(c, objectives) for c in pl_module.candidates}
        replayed(searcher, known)
        bound = len(searcher.ask()) if math.isinf(searcher.evaluations) else searcher.evaluations
        pl_module.evaluations = int(min(bound, searcher.grid.size()))
        saved, generation = time.monotonic(), searcher.generation
        while not searcher.done:
            rows = searcher.ask()[: _TOGETHER * trainer.world_size]
            costs = pl_module.space.macs_of(_tensor(rows)).tolist()
            found = sharded_map(lambda row: self._evaluated(pl_module, row, "latency" in objectives), rows, costs)
            for row, (error, seconds, extra) in zip(rows, found, strict=True):
                candidate = self._candidate(trainer, pl_module, row, error, seconds, extra)
                pl_module.record(trainer, candidate)
                searcher.tell({row: _values(candidate, objectives)})
            trainer._signal_connector.agree()
            due = any(gathered(time.monotonic() - saved > _SAVE_EVERY))  # clocks differ
            if trainer.received_sigterm or due or searcher.generation != generation:
                self._save(trainer, pl_module)
                saved, generation = time.monotonic(), searcher.generation
            if trainer.received_sigterm:
                raise SIGTERMException

    def _save(self, trainer: pl.Trainer, pl_module: CafeNet) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, RunCheckpoint):
                callback.save(trainer, pl_module)

    def _searcher_of(self, pl_module: CafeNet, objectives: int) -> Searcher:
        space = pl_module.space
        grid, band = space.grid, Band(*pl_module.macs_band)
        seed = keyed_seed(pl_module.seed, "width search")
        population = self.population or (_POPULATION if objectives == 1 else _FRONT_POPULATION)
        if self.searcher == "uniform":
            return UniformScaling(grid, band, 1 if objectives == 1 else population, objectives)
        if self.searcher == "random":
            return RandomSearch(grid, seed, band, population, self.evaluations, objectives)
        first = self._prior_rows(pl_module, band, grid, 3 * population // 4) if self.prior else ()
        return Evolution(
            grid,
            seed,
            band,
            population,
            self.parents,
            evaluations=self.evaluations,
            objectives=objectives,
            crossover=self.crossover,
            mutation=self.mutation,
            resample=self.resample,
            first=first,
        )

    def _prior_rows(self, pl_module: CafeNet, band: Band, grid: BinGrid, count: int) -> list[Row]:
        """Rows that BCNet's prior draws from the losses of training."""
        table, _ = pl_module.callback(FlopsBinSampling).mean_losses()
        places = (grid.low - 1)[:, None] + torch.arange(int((grid.high - grid.low).max()) + 1)  # column m: low + m bins
        table = table.gather(1, places.clamp(max=table.shape[1] - 1))
        if not table.isfinite().any():
            raise UserError(
                "method.prior=true needs the losses of a super-net's training in the same bins, and there are none"
            )
        chances = prior.fitted(table, grid, band.most)
        generator = keyed_generator(pl_module.seed, "prior")
        return as_rows(prior.sampled(chances, grid, count, generator))

    def _evaluated(self, pl_module: CafeNet, row: Row, latency: bool) -> tuple[float, float, dict[str, float]]:
        """Error in percent, seconds, and further figures of a row; on one rank."""
        if not pl_module.trained:  # its weights say nothing of a width
            return math.nan, 0.0, {}
        began = time.monotonic()
        generator = keyed_generator(pl_module.seed, "evaluation", *row)
        choices = self._sharing.draw(row, self.k_eval, generator)
        value = self._evaluation.evaluate(choices)
        extra = {"train_loss": value.train_loss}
        if latency:
            network = pl_module.network.extracted(pl_module.network.path(choices[0]))
            extra["latency_ms"] = self.latency.measure(network, pl_module.input_shape, pl_module.device)
        return value.error, time.monotonic() - began, extra

    def _candidate(self, trainer, pl_module: CafeNet, row: Row, error: float, seconds: float, extra) -> Candidate:
        genotype = pl_module.space.genotype(_tensor([row])[0])
        return Candidate(
            id=len(pl_module.candidates),
            parent=None,
            step=trainer.current_epoch,
            error=error,
            macs=pl_module.space.macs(genotype),
            params=pl_module.space.params(genotype),
            seconds=seconds,
            architecture=genotype,
            extra=extra,
        )


def _checked_objectives(objectives: Sequence[str] | None) -> tuple[str, ...] | None:
    if objectives is None:
        return None
    if not isinstance(objectives, (list, tuple)) or "error" not in objectives:
        raise UserError(
            f"method.objectives={objectives!r} is not allowed; it must be null or a list of {', '.join(OBJECTIVES)}, "
            "with error in it"
        )
    return tuple(dict.fromkeys(check_choice("method.objectives", name, OBJECTIVES) for name in objectives))


def _tensor(rows: Sequence[Row]) -> Tensor:
    return torch.tensor([list(row) for row in rows], dtype=torch.int64)


def _row(pl_module: CafeNet, candidate: Candidate) -> Row:
    return tuple(pl_module.space.row(candidate.architecture).tolist())


def _values(candidate: Candidate, objectives: Sequence[str]) -> Values:
    """The objectives of a candidate that has been evaluated."""
    known = {"error": candidate.error, "macs": candidate.macs, "latency": candidate.extra.get("latency_ms", math.nan)}
    return tuple(float(known[name]) for name in objectives)
