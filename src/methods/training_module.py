"""Training one network on one task: what every method has in common, and all that a final training needs."""

import inspect
import math
import time
from collections.abc import Callable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.methods.noise_images import noise_entropy
from src.runtime.ranks.agreement import gathered, rank, world_size
from src.runtime.seeds import reseed
from src.variational.conversion import variational_layers


class TrainingModule(pl.LightningModule):
    """A network, its task (loss and metrics), and how it is optimised.

    Args:
        network: (B, C, H, W) -> what the task takes, class scores (B, num_classes) say.
        task: has `loss(outputs, targets)` and `metrics()`, a torchmetrics collection with "error" in percent; it may
            have `test_metrics()`, which take their place in a test, and `predictive_entropy(outputs)`.
        optimizer: parameters -> optimizer (a partial).
        scheduler: optimizer -> LR schedule (a partial). If it takes `total_steps` it is told them and steps with every
            batch, else with every epoch. None: a constant rate.
        compile: run the network through torch.compile (worth it where its shapes do not change).
        channels_last: keep images and weights in that memory format.
        prefix: of the names of the logged metrics, to tell several trainings in one log apart.
        seed: of what a step draws at random (dropout, say), keyed by (seed, prefix, epoch, batch, rank).

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
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.network = network
        self.task = task
        self.optimizer, self.scheduler = optimizer, scheduler
        self.channels_last, self.prefix = channels_last, prefix
        self._compile = compile
        self.val_metrics, self.test_metrics = task.metrics(), getattr(task, "test_metrics", task.metrics)()
        self._losses: dict[str, tuple[Tensor, int]] = {}
        self._epoch_values: dict[str, float] = {}  # what the last epoch of training gave
        self._epoch_step = 0  # that of what is logged next after it
        self._more_values: dict[str, float] = {}  # of callbacks, to be logged with it
        self.val_error = math.nan  # percent, of the last validation
        self._seconds_before, self._began = 0.0, time.monotonic()
        self.stepped = False  # whether the network of today has been trained at all
        self._settle_due = False

    # what one step does

    def forward(self, images: Tensor, *more) -> Tensor:
        """What the network gives for images (B, C, H, W); `more` is handed on to it."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.network(images, *more)

    def on_fit_start(self) -> None:
        self._check_variational()
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if self._compile:
            self.network.compile()

    def _check_variational(self) -> None:
        """Without their KL the weights of a variational network would only lose their noise, and none its place."""
        trained = any(getattr(callback, "trains_variational_weights", False) for callback in self.trainer.callbacks)
        if not trained and variational_layers(self.network):
            raise UserError(
                f"the weights of this {type(self.network).__name__} are variational, and nothing trains their noise: "
                "add callbacks.variational_training.VariationalTraining to the callbacks of this training"
            )

    @property
    def seconds(self) -> float:
        """Seconds of the fit, those of earlier processes of a resumed one included."""
        return self._seconds_before + time.monotonic() - self._began

    def on_train_start(self) -> None:
        self._began = time.monotonic()
        # Lightning hands a resumed loader its position when it makes it, which is too early where configure_optimizers
        # has asked for the number of steps; a loader that has its position keeps it
        self.trainer.fit_loop._load_combined_loader_states()
        # what the last epoch gave belongs to its own row, not to one of a search that has gone on without training
        self._take_back_logged(self._epoch_values if self.log_step() == self._epoch_step else {})

    def on_test_start(self) -> None:
        self._take_back_logged({})

    def _take_back_logged(self, last: dict[str, float]) -> None:
        """Of a resumed run: takes what came after its checkpoint out of the logs, as it is logged again."""
        for logger in self.loggers:
            if hasattr(logger, "take_back"):
                logger.take_back(self.log_step(), self.prefix, last)

    def log_step(self) -> int:
        """The step of what is logged next: that of the optimizer, unless a search goes on after its last one."""
        return self.trainer.global_step

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        if self._settle_due:
            self._settle(batch, index)
        reseed(self.seed, "step", self.prefix, self.current_epoch, index, self.global_rank)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.stepped = True

    def _settle(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Brings a resumed DDP to the state of one that has made a step, by a backward pass that changes nothing.

        After its first backward pass DDP packs the gradients into other buckets, and of three or more ranks the sum
        depends in its last bit on where in a bucket a gradient lies.
        """
        self._settle_due = False
        buffers, losses = [buffer.clone() for buffer in self.buffers()], dict(self._losses)
        self.trainer.strategy.training_step(batch, index).backward()
        self.zero_grad(set_to_none=True)
        self._losses = losses
        for buffer, before in zip(self.buffers(), buffers, strict=True):
            buffer.copy_(before)

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

    def add_epoch_values(self, values: dict[str, float]) -> None:
        """For callbacks, at the end of an epoch of training: values to be logged with what it gave, by name."""
        self._more_values |= values

    # sums are kept on the device and logged once an epoch: a log for each step costs more than a small step does

    def _add_loss(self, stage: str, loss: Tensor, count: int) -> None:
        total, seen = self._losses.get(stage, (0.0, 0))
        self._losses[stage] = (total + loss.detach().float() * count, seen + count)

    def _log_epoch(self, stage: str, metrics=None, more: dict[str, float] | None = None) -> dict[str, Tensor | float]:
        total, seen = self._losses.pop(stage, (torch.zeros((), device=self.device), 0))
        sums = torch.stack([total.to(self.device), torch.tensor(float(seen), device=self.device)])
        total, seen = self.trainer.strategy.reduce(sums, reduce_op="sum")  # ranks may differ in their last batch
        values = {f"{stage}/loss": total / seen.clamp_min(1), **(more or {})}
        if metrics is not None:
            values |= {f"{stage}/{name}": value for name, value in metrics.compute().items()}
            metrics.reset()
        for name, value in values.items():
            self.log(self.prefix + name, value, sync_dist=self.trainer.world_size > 1)
        return values

    def on_train_epoch_end(self) -> None:
        loss = self._losses["train"][0] if "train" in self._losses else torch.zeros(())
        diverged = not bool(torch.isfinite(loss))
        if self.trainer.strategy.reduce_boolean_decision(diverged, all=False):  # on all ranks, or none
            self.on_divergence()
        values = self._log_epoch("train", more=self._more_values)
        self._more_values = {}
        self._epoch_values = {self.prefix + name: float(value) for name, value in values.items()}
        self._epoch_step = self.log_step()

    def on_divergence(self) -> None:
        """Ends the fit; a search that has other candidates may go on."""
        raise UserError(
            f"the training has diverged: the loss of epoch {self.current_epoch + 1} is not a number; "
            "a smaller optimizer.lr or a longer scheduler.warmup may help"
        )

    def on_validation_epoch_end(self) -> None:
        self.val_error = float(self._log_epoch("val", self.val_metrics)["val/error"])

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test", self.test_metrics, noise_entropy(self))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Keeps what an epoch that is not over has so far: each rank its own loss, to the last bit."""
        total, seen = self._losses.get("train", (0.0, 0))
        checkpoint["losses"], checkpoint["stepped"] = gathered((float(total), seen)), self.stepped
        checkpoint["val_error"], checkpoint["seconds"] = self.val_error, self.seconds
        checkpoint["epoch_values"], checkpoint["epoch_step"] = dict(self._epoch_values), self._epoch_step

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.val_error, self._seconds_before = checkpoint["val_error"], checkpoint["seconds"]
        self._epoch_values, self._epoch_step = checkpoint["epoch_values"], checkpoint.get("epoch_step", 0)
        self.stepped = checkpoint["stepped"]
        self._settle_due = self.stepped and world_size() > 1
        losses = checkpoint["losses"]
        if len(losses) != world_size():  # rank 0 goes on with the sum of all
            losses = [tuple(map(sum, zip(*losses, strict=True)))] + [(0.0, 0)] * (world_size() - 1)
        total, seen = losses[rank()]
        if seen:
            self._losses["train"] = (torch.tensor(total, device=self.device), seen)

    # optimisation

    def parameter_groups(self) -> list[dict]:
        """What the optimizer gets; a method or callback may want more than one group.

        Of variational layers theta is not decayed: a smaller theta with the sigma that it had counts for less. Their
        log sigma^2 belongs to the callback that adds the KL.
        """
        layers = variational_layers(self.network).values()
        if not layers:
            return [{"params": list(self.network.parameters())}]
        thetas = list(dict.fromkeys(layer.weight for layer in layers))
        apart = {*thetas, *(layer.log_sigma2 for layer in layers)}
        others = [parameter for parameter in self.network.parameters() if parameter not in apart]
        return [{"params": others}, {"params": thetas, "weight_decay": 0.0}]

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
