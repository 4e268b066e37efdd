"""Super-nets whose sub-nets evolve while their weights are trained (NAT, as ENCAS reproduces it: arXiv 2203.00888).

Lu et al. 2021, Neural Architecture Transfer (https://arxiv.org/abs/2005.05859): train the shared weights on an archive
of sub-nets only, evaluate the archive, propose a better one, and so on.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from src.errors import UserError, check_whole
from src.evolution.budget import keys
from src.evolution.new_rows import distinct
from src.evolution.rank_measures import rank_measures
from src.methods.evolution_report import evolution_figures
from src.methods.evolution_schedule import Phase
from src.methods.hypervolume_reference import checked_reference
from src.methods.kept_network import KeptNetwork
from src.methods.subnet_training import SubnetTraining
from src.methods.weight_average import WeightAverage
from src.reporting import quantities
from src.reporting.candidates import Candidate, pareto_front
from src.reporting.hypervolume import hypervolume

SUPERNET = "supernet.pt"  # in the run folder: the weights of the super-nets, as the front has them
MOST_ROWS = 100_000  # of an archive, each of which is evaluated
_REFERENCE_ROOM = 1.01


class SubnetEvolution(SubnetTraining):
    """A callback evaluates archives of rows and proposes the next ones; between them the weights are trained.

    A row stands for what is searched; `subnet_rows` says which sub-net of each super-net it holds.

    Args:
        doe: rows of the first archive, the largest and the smallest among them.
        archive: rows of each later one.
        swa_iterations: the weights at the end of so many last iterations are averaged; 0: those of the last one stay.
        reference: [error in percent, MACs] up to which hypervolume is measured; None: the error of guessing, and 1.01
            times the MACs of the largest.
        settings: as `SubnetTraining` has them.
    """

    given_weights: str | None = None  # where trained weights to start from come from
    remedies = "one of them"  # for super-nets that nothing trains
    many_candidates = True
    validated_note = "The validated network is the largest sub-net of the super-net that was just trained."
    final_weights = "shared weights"  # that the networks of the final table have
    candidates_take_epochs = False

    def __init__(
        self,
        *args,
        doe: int = 300,
        archive: int = 300,
        swa_iterations: int = 20,
        reference: Sequence[float] | None = None,
        **settings,
    ) -> None:
        self.doe = check_whole("method.doe", doe, 3, MOST_ROWS)
        self.archive_size = check_whole("method.archive", archive, 3, MOST_ROWS)
        self.swa_iterations = check_whole("method.swa_iterations", swa_iterations, 0)
        self.given_reference = checked_reference(reference, "MACs")
        super().__init__(*args, **settings)
        if not self.plan.phases and self.given_weights is None:
            raise UserError(f"method.epochs=0 and method.warmup_epochs=0 train nothing: give {self.remedies}")
        self.archive = self.first_archive()  # trained, and evaluated next
        self.iteration = 0  # the number of this archive; in the end that of all of them
        self.measures: list[dict[str, float]] = []  # of each archive that was evaluated
        self.predicted: list[float] = []  # errors of the archive by the surrogate; NaN where it was fitted on the row
        self.compared: tuple[list[float], list[float]] = ([], [])  # errors of the last such archive, and as measured
        self.final = False  # whether the weights stay
        self.average = WeightAverage()

    # what a method with rows of its own says

    def first_archive(self) -> NDArray:
        """The rows (doe, d) of iteration 0."""
        raise NotImplementedError

    def known_rows(self, candidates: Sequence[Candidate]) -> NDArray:
        """The rows (n, d) of candidates."""
        raise NotImplementedError

    def begin_evaluation(self, validation: Iterable[tuple[Tensor, Tensor]]) -> tuple[list, list[float]]:
        """What of the archive is still to be evaluated: items, and what each costs (MACs)."""
        raise NotImplementedError

    def evaluated(self, item: Any) -> Any:
        """What is measured of an item, on one rank."""
        raise NotImplementedError

    def take(self, trainer: pl.Trainer, item: Any, result: Any) -> None:
        """Notes it, on all ranks."""
        raise NotImplementedError

    def end_evaluation(self, trainer: pl.Trainer) -> None:
        """All items were taken: a candidate stands for each row of the archive now."""

    def proposed(self, check: Callable[[], None]) -> tuple[NDArray, list[float]]:
        """The next archive and its predicted errors; on rank 0, in a thread, which calls `check` now and then."""
        raise NotImplementedError

    def finish(self, trainer: pl.Trainer) -> None:
        """The last archive has been evaluated, by the weights that stay; call it on all ranks."""

    def keep(self, folder: str) -> None:
        """Keeps the weights of the front, and others that are asked for, in the run folder; call it on all ranks."""
        raise NotImplementedError

    # archives, for the callback

    def evaluation_due(self) -> bool:
        """Whether an archive waits for its evaluation before this epoch is trained."""
        return self.final or self.iteration < self.plan.evaluated_by(self.current_epoch)

    def today(self) -> int:
        """The number of the evaluation under way: the iteration, after the last one T + 1."""
        return self.plan.iterations + 1 if self.final else self.iteration

    def outdate(self) -> None:
        """Marks what was judged by other weights than those of today."""
        if self.reevaluates:
            first = self.today() - (self.final and self.average.count < 2)  # the weights of the last iteration stay
            self.candidates = [
                c if c.extra["iteration"] >= first or c.outdated else replace(c, outdated=True) for c in self.candidates
            ]

    def note_iteration(self, trainer: pl.Trainer) -> None:
        """Takes stock of an archive that has been evaluated; a second time, in a resumed search, it does nothing."""
        if self.final or len(self.measures) > self.iteration:
            return
        measure = {"iteration": self.iteration, "hypervolume": self.front_volume(), "evaluations": len(self.candidates)}
        if self.predicted:
            measured = self.measured_errors()
            unseen = np.isfinite(self.predicted)
            measure |= rank_measures(np.array(self.predicted)[unseen], measured[unseen])
            self.compared = (np.array(self.predicted)[unseen].tolist(), measured[unseen].tolist())
        self.measures.append({name: float(value) for name, value in measure.items()})
        self._count_logged(trainer)
        for logger in trainer.loggers if trainer.is_global_zero else ():
            told = {f"evolution/{name}": value for name, value in self.measures[-1].items()}
            logger.log_metrics(told, step=self.log_step() - 1)
        if self.reevaluates and self.iteration > self.plan.iterations - self.swa_iterations:
            self.average.add(self.network.state_dict())

    def next_wanted(self) -> bool:
        """Whether another archive is proposed."""
        return self.iteration < self.plan.iterations

    def take_archive(self, found: tuple[NDArray, list[float]]) -> None:
        """Goes on with what was proposed; says so where that is less than was asked for."""
        if len(found[0]) < self.archive_size:
            rank_zero_warn(
                f"iteration {self.iteration} has {len(found[0])} rows, not method.archive={self.archive_size}: no more "
                "different ones were found; other searchers may evaluate more"
            )
        before, rows = set(keys(self.archive)), np.asarray(found[0], dtype=np.int64)
        # of rows that the surrogate was fitted on its prediction is no news
        self.predicted = [math.nan if k in before else p for k, p in zip(keys(rows), found[1], strict=False)]
        self.archive = rows
        self.iteration += 1

    def take_last_archive(self) -> bool:
        """After the last iteration, once: all that was ever on the front of one is judged by the weights that stay.

        These are averaged ones, if that is asked for. Returns whether there is anything to evaluate.
        """
        self.iteration = self.plan.iterations + 1
        if self.final or not self.reevaluates:
            return False
        if self.average.count > 1:
            self.network.load_state_dict(self.average.state(self.network.state_dict()))
        self.archive, self.predicted, self.final = self.last_archive(), [], True
        return True

    def measured_errors(self) -> NDArray:
        """Errors (n,) of the archive that was predicted, as they were measured, in its order."""
        current = self.archived_candidates()
        errors = dict(zip(keys(self.known_rows(current)), (c.error for c in current), strict=True))
        return np.array([errors[key] for key in keys(self.archive)])

    def last_archive(self) -> NDArray:
        """The archive, and all that was on the front of its iteration (the run's cumulative front, section 1.1)."""
        rows = [self.archive]
        for number in range(self.plan.iterations + 1):
            own = [replace(c, outdated=False) for c in self.candidates if c.extra["iteration"] == number]
            rows.append(self.known_rows(pareto_front(own)))
        return distinct(np.concatenate(rows))

    def kept_networks(self) -> list[KeptNetwork]:
        """A network to compare with, and the front, with their files in the run folder."""
        raise NotImplementedError

    @property
    def reevaluates(self) -> bool:
        """Whether weights move between two iterations, so that what was measured before says no more."""
        return self.plan.epochs > 0

    def current_candidates(self) -> list[Candidate]:
        """Those that were judged by the weights of today."""
        return [candidate for candidate in self.candidates if not candidate.outdated]

    def reference(self) -> tuple[float, float]:
        """The point (error in percent, MACs) up to which a hypervolume is measured."""
        classes = getattr(self.task, "num_classes", None)
        guessing = 100 * (1 - 1 / classes) if classes and getattr(self.task, "targets", "") == "class" else 100.0
        return self.given_reference or (guessing, _REFERENCE_ROOM * self.most_macs())

    def most_macs(self) -> float:
        """Of anything that is searched."""
        return float(sum(space.reachable()[1] for space in self.spaces))

    def archived_candidates(self) -> list[Candidate]:
        """Those of today that a row of an archive stands for: all, unless a method says otherwise."""
        return self.current_candidates()

    def front_volume(self) -> float:
        """The hypervolume of the candidates of today, as a share of the box below `reference`."""
        points = np.array([(c.error, c.macs) for c in self.current_candidates()]).reshape(-1, 2)
        return hypervolume(points, self.reference())

    # for the user

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.plan.total + 1
        super().search(trainer, data, checkpoint)

    def phase(self) -> str:
        last = self.measures[-1]["hypervolume"] if self.measures else None
        told = "" if last is None else f", hypervolume {last:.4f}"
        if self.final:
            return f"evaluating the front{told}"
        phase = self.phase_of_today() if self.plan.phases else Phase(0, 0, 0, 0)
        if phase.iteration < 0 and not self.evaluation_due():
            return f"warming up for {phase.epochs} epochs"
        return f"iteration {min(self.iteration, self.plan.iterations)}/{self.plan.iterations}{told}"

    def archives_told(self) -> str:
        """How many archives were evaluated."""
        return f"{len(self.measures)} archives" + (" and a last look at all fronts" if self.final else "")

    def report_facts(self) -> dict[str, str]:
        """For the head of the page."""
        if not self.measures:
            return {}
        box = f"{quantities.percent(self.reference()[0])} % and {quantities.amount(self.reference()[1])} MACs"
        return {"hypervolume": f"{self.front_volume():.4f}, up to {box}", "iterations": str(self.iteration)}

    def report_figures(self) -> list:
        return super().report_figures() + evolution_figures(self)

    # what is logged has a step of its own: optimizer steps, candidates and measures so far

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates) + len(self.measures)

    def record(self, trainer: pl.Trainer, candidate: Candidate) -> None:
        super().record(trainer, candidate)
        self._count_logged(trainer)

    def _count_logged(self, trainer: pl.Trainer) -> None:
        """Lets Lightning log what the next epoch gives behind what was logged so far."""
        trainer.fit_loop.epoch_loop._batches_that_stepped = self.log_step()

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["evolution"] = {
            "iteration": self.iteration,
            "measures": [dict(measure) for measure in self.measures],
            "predicted": list(self.predicted),
            "compared": [list(errors) for errors in self.compared],
            "final": self.final,
            "average": self.average.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["evolution"]
        self.iteration, self.final = state["iteration"], state["final"]
        self.measures, self.predicted = list(state["measures"]), list(state["predicted"])
        self.compared = (list(state["compared"][0]), list(state["compared"][1]))
        self.average.load_state_dict(state["average"])
