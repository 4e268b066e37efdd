"""Training one network on one task: what every method has in common, and all that a final training needs."""

import inspect
from collections.abc import Callable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from src.errors import UserError


class TrainingModule(pl.LightningModule):
    """A network, its task (loss and metrics), and how it is optimised.

    Args:
        network: (B, C, H, W) -> what the task takes, class scores (B, num_classes) say.
        task: has `loss(outputs, targets)` and `metrics()`, a torchmetrics collection with "error" in percent.
        optimizer: parameters -> optimizer (a partial).
        scheduler: optimizer -> LR schedule (a partial). If it takes `total_steps` it is told them and steps with every
            batch, else with every epoch. None: a constant rate.
        compile: run the network through torch.compile (worth it where its shapes do not change).
        channels_last: keep images and weights in that memory format.
        prefix: of the names of the logged metrics, to tell several trainings in one log apart.

    Logs, once an epoch: train/loss, val/loss, val/error and what else the task measures; test/... in a test.
    """

    def __init__(
        self,
        network: nn.Module,
        task,
        optimizer: Callable,
        scheduler: Callable | None = None,
        compile: bool = False,
        channels_last: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.optimizer, self.scheduler = optimizer, scheduler
        self.channels_last, self.prefix = channels_last, prefix
        self._compile = compile
        self.val_metrics, self.test_metrics = task.metrics(), task.metrics()
        self._losses: dict[str, tuple[Tensor, int]] = {}

    # what one step does

    def forward(self, images: Tensor) -> Tensor:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.network(images)

    def on_fit_start(self) -> None:
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if self._compile:
            self.network.compile()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        loss = self.task.loss(self(images), targets)
        self._add_loss("train", loss, len(images))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._evaluate("val", self.val_metrics, batch)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._evaluate("test", self.test_metrics, batch)

    def _evaluate(self, stage: str, metrics, batch: tuple[Tensor, Tensor]) -> None:
        images, targets = batch
        outputs = self(images)
        self._add_loss(stage, self.task.loss(outputs, targets), len(images))
        metrics.update(outputs, targets)

    # sums are kept on the device and logged once an epoch: a log for each step costs more than a small step does

    def _add_loss(self, stage: str, loss: Tensor, count: int) -> None:
        total, seen = self._losses.get(stage, (0.0, 0))
        self._losses[stage] = (total + loss.detach().float() * count, seen + count)

    def _log_epoch(self, stage: str, metrics=None) -> None:
        total, seen = self._losses.pop(stage, (torch.zeros((), device=self.device), 0))
        sums = torch.stack([total.to(self.device), torch.tensor(float(seen), device=self.device)])
        total, seen = self.trainer.strategy.reduce(sums, reduce_op="sum")  # ranks may differ in their last batch
        values = {f"{stage}/loss": total / seen.clamp_min(1)}
        if metrics is not None:
            values |= {f"{stage}/{name}": value for name, value in metrics.compute().items()}
            metrics.reset()
        for name, value in values.items():
            self.log(self.prefix + name, value, sync_dist=self.trainer.world_size > 1)

    def on_train_epoch_end(self) -> None:
        loss = self._losses["train"][0] if "train" in self._losses else torch.zeros(())
        diverged = not bool(torch.isfinite(loss))
        if self.trainer.strategy.reduce_boolean_decision(diverged, all=False):  # all ranks stop, or none
            raise UserError(
                f"the training has diverged: the loss of epoch {self.current_epoch + 1} is not a number; "
                "a smaller optimizer.lr or a longer scheduler.warmup may help"
            )
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test", self.test_metrics)

    # optimisation

    def parameter_groups(self) -> list[dict]:
        """What the optimizer gets; a method or callback may want more than one group."""
        return [{"params": list(self.network.parameters())}]

    def schedule_epochs(self) -> int:
        """The number of epochs that one LR schedule covers."""
        return self.trainer.max_epochs

    def configure_optimizers(self):
        optimizer = self.optimizer(self.parameter_groups())
        if self.scheduler is None:
            return optimizer
        if "total_steps" not in inspect.signature(self.scheduler).parameters:
            return [optimizer], [{"scheduler": self.scheduler(optimizer), "interval": "epoch"}]
        steps = -(-int(self.trainer.estimated_stepping_batches) // self.trainer.max_epochs)
        scheduler = self.scheduler(optimizer, total_steps=steps * self.schedule_epochs())
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
