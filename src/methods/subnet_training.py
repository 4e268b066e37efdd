"""Sub-nets of several super-nets that are trained by turns, one in each step, and judged with statistics of their own.

As ENCAS reproduces NAT (arXiv 2203.00888): without sandwich rule and distillation.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from src.errors import UserError, check_choice, check_range, check_whole
from src.methods.evolution_schedule import EvolutionSchedule, Phase
from src.methods.search_module import SearchModule
from src.methods.slices import outputs_in_slices, sliced
from src.runtime.seeds import keyed_seed
from src.spaces.subnet_space import SubnetSpace

SAMPLINGS = ("archive", "marginals")


class SubnetTraining(SearchModule):
    """Trains K super-nets on the sub-nets of an archive.

    A step trains one sub-net. Parameters that it leaves out whole have no gradient, so that the optimizer leaves them
    alone, under DDP too. Of those that it runs in part the rest has a gradient of zero: weight decay and momentum move
    it, with one process and with several.

    Args:
        spaces: of the super-nets, K of them.
        iterations, epochs, warmup_epochs, lr_schedule: as `EvolutionSchedule` has them.
        iteration_lr: the learning rate of the iterations as a share of the optimizer's, which the warm-up has.
        warmup_largest, warmup_smallest: shares of the warm-up's steps that train these; the others random sub-nets.
        sampling: which sub-net a step trains: one of the archive, or a row of genes that are drawn each from a row of
            the archive ("marginals").
        calibration_images: of the training part, from which each sub-net takes its statistics of batch norms.
        base, input_shape, settings: as `SearchModule` has them.
    """

    unused_parameters = True

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        spaces: Sequence[SubnetSpace],
        iterations: int = 30,
        epochs: int = 5,
        warmup_epochs: int = 0,
        lr_schedule: str = "restart",
        iteration_lr: float = 1.0,
        warmup_largest: float = 0.25,
        warmup_smallest: float = 0.25,
        sampling: str = "archive",
        calibration_images: int = 2000,
        **settings,
    ) -> None:
        self.spaces = list(spaces)
        self.plan = EvolutionSchedule(len(self.spaces), warmup_epochs, iterations, epochs, lr_schedule)
        self.iteration_lr = check_range("method.iteration_lr", iteration_lr, 0, 1e3)
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
        self.calibration_images = check_whole("method.calibration_images", calibration_images, 2)
        super().__init__(base, input_shape, **settings)
        self.archive: NDArray = np.empty((0, 0), dtype=np.int64)  # (n, d): rows whose sub-nets are trained
        self._calibration: list[Tensor] | None = None
        self._validated: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no part of this module
        self._begin_schedule(0)

    # what a method with rows of its own says

    def subnet_rows(self, rows: NDArray) -> list[NDArray]:
        """Of rows (n, d) the sub-net of each super-net: K arrays (n, d_k)."""
        raise NotImplementedError

    def supernet(self, number: int) -> nn.Module:
        """A super-net."""
        raise NotImplementedError

    # training

    @property
    def epochs(self) -> int:
        """Of training in all."""
        return self.plan.total

    def schedule_epochs(self) -> int:
        return self.schedule

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
            self._begin_schedule(self.current_epoch + 1)
            self.replace_network(self.network, self.config)

    def _begin_schedule(self, epoch: int) -> None:
        """Notes the epochs of the LR schedule that begins with `epoch`, and its rate as a share of the optimizer's."""
        self.schedule = self.plan.schedule_epochs(epoch)
        warming_up = bool(self.plan.phases) and self.plan.phase(epoch).iteration < 0
        self.rate = 1.0 if warming_up else self.iteration_lr

    def configure_optimizers(self):
        plain = self.optimizer

        def scaled(groups: list[dict]) -> torch.optim.Optimizer:
            optimizer = plain(groups)
            for group in optimizer.param_groups:
                group["lr"] *= self.rate
            return optimizer

        self.optimizer = scaled
        try:
            return super().configure_optimizers()
        finally:
            self.optimizer = plain

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

    # checkpoints

    def structure_state(self) -> dict[str, Tensor]:
        """What all ranks must hold alike beside the weights."""
        return {"archive": torch.from_numpy(np.ascontiguousarray(self.archive))}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["subnets"] = {"archive": self.archive.tolist(), "schedule": self.schedule, "rate": self.rate}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["subnets"]
        self.schedule, self.rate = state["schedule"], state["rate"]
        self.archive = np.array(state["archive"], dtype=np.int64).reshape(-1, self.archive.shape[1])
