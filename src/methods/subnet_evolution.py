"""Super-nets whose sub-nets evolve while their weights are trained (NAT, as ENCAS reproduces it: arXiv 2203.00888).

Lu et al. 2021, Neural Architecture Transfer (https://arxiv.org/abs/2005.05859): train the shared weights on an archive
of sub-nets only, evaluate the archive, propose a better one, and so on. One sub-net is trained in each step, without
sandwich rule and distillation.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from src.errors import UserError, check_choice, check_range, check_whole
from src.evolution.budget import keys
from src.evolution.rank_measures import rank_measures
from src.methods.evolution_report import evolution_figures
from src.methods.evolution_schedule import EvolutionSchedule, Phase
from src.methods.hypervolume_reference import checked_reference
from src.methods.search_module import SearchModule
from src.methods.slices import outputs_in_slices, sliced
from src.methods.subnet_results import KeptNetwork
from src.methods.weight_average import WeightAverage
from src.reporting.candidates import Candidate, pareto_front
from src.reporting.hypervolume import hypervolume
from src.runtime.seeds import keyed_seed
from src.spaces.subnet_space import SubnetSpace

SAMPLINGS = ("archive", "marginals")
SUPERNET = "supernet.pt"  # in the run folder: the weights of the super-nets, as the front has them
_REFERENCE_ROOM = 1.01


class SubnetEvolution(SearchModule):
    """Trains sub-nets of K super-nets by turns; a callback evaluates archives of rows and proposes the next ones.

    A row stands for what is searched; `subnet_rows` says which sub-net of each super-net it holds.

    Args:
        spaces: of the super-nets, K of them.
        iterations, epochs, warmup_epochs, lr_schedule: as `EvolutionSchedule` has them.
        doe: rows of the first archive, the largest and the smallest among them.
        archive: rows of each later one.
        warmup_largest, warmup_smallest: shares of the warm-up's steps that train these; the others random sub-nets.
        sampling: which sub-net a step trains: one of the archive, or a row of genes that are drawn each from a row of
            the archive ("marginals").
        swa_iterations: the weights at the end of so many last iterations are averaged; 0: those of the last one stay.
        calibration_images: of the training part, from which each sub-net takes its statistics of batch norms.
        reference: [error in percent, MACs] up to which hypervolume is measured; None: the error of guessing, and 1.01
            times the MACs of the largest.
        base, input_shape, settings: as `SearchModule` has them.
    """

    unused_parameters = True
    many_candidates = True
    candidates_take_epochs = False

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        spaces: Sequence[SubnetSpace],
        iterations: int = 30,
        epochs: int = 5,
        warmup_epochs: int = 0,
        lr_schedule: str = "restart",
        doe: int = 300,
        archive: int = 300,
        warmup_largest: float = 0.25,
        warmup_smallest: float = 0.25,
        sampling: str = "archive",
        swa_iterations: int = 20,
        calibration_images: int = 2000,
        reference: Sequence[float] | None = None,
        **settings,
    ) -> None:
        self.spaces = list(spaces)
        self.plan = EvolutionSchedule(len(self.spaces), warmup_epochs, iterations, epochs, lr_schedule)
        self.doe = check_whole("method.doe", doe, 3)
        self.archive_size = check_whole("method.archive", archive, 3)
        self.warmup_shares = (
            check_range("method.warmup_largest", warmup_largest, 0, 1),
            check_range("method.warmup_smallest", warmup_smallest, 0, 1),
        )
        if sum(self.warmup_shares) > 1:
            raise UserError(
                f"method.warmup_largest={warmup_largest} and method.warmup_smallest={warmup_smallest} are not allowed; "
                "they are shares of all steps, and must come to 1 at most"
            )
        self.sampling = check_choice("method.sampling", sampling, SAMPLINGS)
        self.swa_iterations = check_whole("method.swa_iterations", swa_iterations, 0)
        self.calibration_images = check_whole("method.calibration_images", calibration_images, 2)
        self.given_reference = checked_reference(reference, "MACs")
        super().__init__(base, input_shape, **settings)
        self.archive = self.first_archive()  # (n, d) int64: what is trained, and evaluated next
        self.iteration = 0  # archives that were evaluated
        self.measures: list[dict[str, float]] = []  # of each of them
        self.predicted: list[float] = []  # errors of the archive, as the surrogate has them
        self.compared: tuple[list[float], list[float]] = ([], [])  # errors of the last such archive, and as measured
        self._schedule_epoch = 0  # with which the optimizer of today began; a resumed fit makes it at its epoch 0
        self.final = False  # whether the weights are those that stay
        self.average = WeightAverage()
        self._calibration: list[Tensor] | None = None
        self._validated: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no part of this module

    # what a method with rows of its own says

    def first_archive(self) -> NDArray:
        """The rows (doe, d) of iteration 0."""
        raise NotImplementedError

    def subnet_rows(self, rows: NDArray) -> list[NDArray]:
        """Of rows (n, d) the sub-net of each super-net: K arrays (n, d_k)."""
        raise NotImplementedError

    def supernet(self, number: int) -> nn.Module:
        """A super-net."""
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

    def keep(self, folder: str) -> None:
        """Keeps the weights of the front, and the super-nets, in the run folder; call it on all ranks."""
        raise NotImplementedError

    # training

    @property
    def epochs(self) -> int:
        """Of training in all."""
        return self.plan.total

    def schedule_epochs(self) -> int:
        return max(1, self.plan.schedule_epochs(self._schedule_epoch))

    def phase_of_today(self) -> Phase:
        return self.plan.phase(self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        number, row = self.trained_subnet(self.trainer.global_step)
        loss = self.task.loss(self(images, *self.call_of(number, row)), targets)
        self._add_loss("train", loss, len(images))
        return loss

    def call_of(self, number: int, row: NDArray) -> tuple:
        """What the network is told beside the images, to run a sub-net."""
        return (self.spaces[number].genotype(row),)

    def trained_subnet(self, step: int) -> tuple[int, NDArray]:
        """Which super-net, and which sub-net (d_k,) of it, an optimizer step trains; keyed by (seed, step)."""
        generator = np.random.default_rng(keyed_seed(self.seed, "subnet", step))
        phase = self.phase_of_today()
        space = self.spaces[phase.supernet]
        if phase.iteration < 0:
            draw, (largest, smallest) = generator.random(), self.warmup_shares
            if draw < largest + smallest:
                return phase.supernet, space.largest if draw < largest else space.smallest
            return phase.supernet, space.uniform(1, generator)[0]
        rows = self.subnet_rows(self.archive)[phase.supernet]
        if self.sampling == "archive":
            return phase.supernet, rows[generator.integers(len(rows))]
        genes = rows[generator.integers(len(rows), size=rows.shape[1]), np.arange(rows.shape[1])]
        return phase.supernet, space.canonical(genes[None])[0]

    def on_train_epoch_end(self) -> None:
        if self.current_epoch >= self.plan.total:  # nothing was trained
            return
        super().on_train_epoch_end()
        if self.plan.restarts(self.current_epoch):
            self._schedule_epoch = self.current_epoch + 1
            self.replace_network(self.network, self.config)

    # what a sub-net is worth

    def calibration_batches(self) -> list[Tensor]:
        """Images of the training part, the same on all ranks."""
        if self._calibration is None:
            batches = self.trainer.datamodule.calibration_batches(self.calibration_images)
            self._calibration = [part for images, _ in batches for part in sliced(self._laid_out(images))]
        return self._calibration

    def calibrated(self, number: int, row: NDArray) -> nn.Module:
        """The stand-alone sub-net (d_k,) of a super-net, with its weights and statistics of batch norms of its own.

        The new statistics are means over the calibration batches (section 1.4).
        """
        network = self.supernet(number).extracted(self.spaces[number].genotype(row)).to(self.device)
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)
        with self.trainer.precision_plugin.forward_context():
            update_bn(self.calibration_batches(), network, device=self.device)
        return network.eval()

    @torch.no_grad()
    def outputs_of(self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], float]:
        """What `network` says of each batch, and its error in percent; on this process alone."""
        metrics, outputs = self.task.metrics(sync_on_compute=False).to(self.device), []
        for images, targets in batches:
            with self.trainer.precision_plugin.forward_context():
                outputs.append(outputs_in_slices(network, self._laid_out(images)))
            metrics.update(outputs[-1], targets)
        return outputs, float(metrics.compute()["error"])

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    # validation: the largest sub-net of the super-net that is trained

    def on_validation_start(self) -> None:
        number = self.phase_of_today().supernet if self.plan.phases else 0
        self._validated = (self.calibrated(number, self.spaces[number].largest),)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, targets = batch
        outputs = outputs_in_slices(self._validated[0], self._laid_out(images))
        self._add_loss("val", self.task.loss(outputs, targets), len(images))
        self.val_metrics.update(outputs, targets)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._validated = ()

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
            today = self.today()
            self.candidates = [
                c if c.extra["iteration"] == today or c.outdated else replace(c, outdated=True) for c in self.candidates
            ]

    def note_iteration(self, trainer: pl.Trainer) -> bool:
        """Takes stock of an iteration whose archive has been evaluated; whether the search has ended by it."""
        measure = {"iteration": self.iteration, "hypervolume": self.front_volume(), "evaluations": len(self.candidates)}
        if self.predicted:
            measured = self.measured_errors()
            measure |= rank_measures(np.array(self.predicted), measured)
            self.compared = (list(self.predicted), measured.tolist())
        self.measures.append({name: float(value) for name, value in measure.items()})
        for logger in trainer.loggers if trainer.is_global_zero else ():
            told = {f"evolution/{name}": value for name, value in self.measures[-1].items()}
            logger.log_metrics(told, step=self.log_step() - 1)
        if self.reevaluates and self.iteration > self.plan.iterations - self.swa_iterations:
            self.average.add(self.network.state_dict())
        self.iteration += 1
        if self.iteration <= self.plan.iterations:
            return False
        if self.average.count < 2:
            return True
        self.network.load_state_dict(self.average.state(self.network.state_dict()))
        self.archive, self.predicted, self.final = self.last_archive(), [], True
        return False

    def measured_errors(self) -> NDArray:
        """Errors (n,) of the archive that was predicted, as they were measured, in its order."""
        current = self.current_candidates()
        errors = dict(zip(keys(self.known_rows(current)), (c.error for c in current), strict=True))
        return np.array([errors[key] for key in keys(self.archive)])

    def last_archive(self) -> NDArray:
        """What is evaluated with averaged weights: the archive, and all that was ever on the front of the run."""
        ever = [replace(candidate, outdated=False) for candidate in self.candidates]
        rows = np.concatenate([self.archive, self.known_rows(pareto_front(ever))])
        _, first = np.unique(rows, axis=0, return_index=True)
        return rows[np.sort(first)]

    def kept_networks(self) -> list[KeptNetwork]:
        """A network to compare with, and the front, with their files in the run folder."""
        raise NotImplementedError

    def take_archive(self, found: tuple[NDArray, list[float]]) -> None:
        """Goes on with what was proposed."""
        self.archive, self.predicted = np.asarray(found[0], dtype=np.int64), list(found[1])

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
            return "warming up"
        return f"iteration {min(self.iteration, self.plan.iterations)}/{self.plan.iterations}{told}"

    def report_figures(self) -> list:
        return super().report_figures() + evolution_figures(self)

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates)

    # checkpoints

    def structure_state(self) -> dict[str, Tensor]:
        """What all ranks must hold alike beside the weights."""
        return {"archive": torch.from_numpy(np.ascontiguousarray(self.archive))}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["evolution"] = {
            "archive": self.archive.tolist(),
            "iteration": self.iteration,
            "measures": [dict(measure) for measure in self.measures],
            "predicted": list(self.predicted),
            "compared": [list(errors) for errors in self.compared],
            "final": self.final,
            "schedule_epoch": self._schedule_epoch,
            "average": self.average.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["evolution"]
        self.archive = np.array(state["archive"], dtype=np.int64)
        self.iteration, self.final = state["iteration"], state["final"]
        self._schedule_epoch = state["schedule_epoch"]
        self.measures, self.predicted = list(state["measures"]), list(state["predicted"])
        self.compared = (list(state["compared"][0]), list(state["compared"][1]))
        self.average.load_state_dict(state["average"])
