"""Moves the architecture parameters of a differentiable search, by turns with its weights (DARTS, FBNet).

When to use: with `method=hournas`, with `method=darts`, and with `method=vinnas method.mode=bilevel`. Cost: an
architecture step is a forward and a backward pass that computes no gradient of a weight; there is one after every
`every` weight steps.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_betas, check_range, check_whole
from src.methods.search_module import SearchModule


class ArchitectureSteps(pl.Callback):
    """Adam on architecture parameters, with images that the weights never see: `data.reserved_dataloader()`.

    The gradient is taken for them alone, outside of DDP, and averaged over the ranks: no weight, no gradient of one
    and no statistic of a batch norm changes. Step n takes batch n of the reserved images, pass after pass.

    The module offers `learns`, whether there are such steps at all; `architecture_tensors()`, its architecture
    parameters, each with a factor for its rate; `architecture_loss(batch, *tensors, step=n)`; `learning_stages()`, name
    and epochs of each stage; `stage_epoch()`; and `warmup_epochs`, the first of a stage, which have no such steps.

    Args:
        lr, weight_decay, betas: of Adam.
        start_epoch: of each stage, the first with architecture steps; the weights have those before for themselves.
        every: weight steps to one architecture step; None: as many as make one pass over both parts of the images take
            one epoch.
        paths: that a step draws; the gradient is their mean.
        where: the node of the config that these settings stand in, for messages.
    """

    def __init__(
        self,
        lr: float = 0.01,
        weight_decay: float = 5e-4,
        betas: Sequence[float] = (0.9, 0.999),
        start_epoch: int = 0,
        every: int | None = None,
        paths: int = 1,
        where: str = "method.arch",
    ) -> None:
        self.where = where
        self.lr = check_range(f"{where}.lr", lr, 0, 100)
        self.weight_decay = check_range(f"{where}.weight_decay", weight_decay, 0, 100)
        self.betas = check_betas(f"{where}.betas", betas)
        self.start_epoch = check_whole(f"{where}.start_epoch", start_epoch, 0)
        self.every = None if every is None else check_whole(f"{where}.every", every, 1)
        self.paths = check_whole(f"{where}.paths", paths, 1, 1000)
        self.steps = 0  # made so far
        self._step_of_weights = -1  # after which the last one was made
        self._adam: torch.optim.Adam | None = None
        self._saved: dict[str, Any] | None = None
        self._batches: Iterator | None = None

    def __repr__(self) -> str:
        return (
            f"ArchitectureSteps(lr={self.lr}, weight_decay={self.weight_decay}, betas={self.betas}, "
            f"start_epoch={self.start_epoch}, every={self.every}, paths={self.paths})"
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not hasattr(pl_module, "architecture_loss"):
            raise UserError(f"ArchitectureSteps needs method=hournas, darts or vinnas, not {type(pl_module).__name__}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: SearchModule) -> None:
        if not pl_module.learns:
            return
        self._module = pl_module
        if self._saved is not None:  # what a resumed run had: now, while theta is the one that it belongs to
            self._adam_of(pl_module).load_state_dict(self._saved)
            self._saved = None
        self._loader = trainer.datamodule.reserved_dataloader()
        self._batches = self._from_batch(self.steps)
        steps = -(-trainer.num_training_batches // trainer.accumulate_grad_batches)
        self._every = self.every or max(1, round(steps / len(self._loader)))
        self._check_room(pl_module, steps)

    def _check_room(self, pl_module: SearchModule, steps: int) -> None:
        """A stage without an architecture step would take its first operations for the best; `steps`: of an epoch."""
        for stage, epochs in pl_module.learning_stages():
            start = max(self.start_epoch, pl_module.warmup_epochs)
            if steps * (epochs - start) < self._every:
                raise UserError(
                    f"with {start} epochs for the weights alone and {self._every} of their steps to one of the "
                    f"architecture, no architecture step falls into the {epochs} epochs for {stage}, which have "
                    f"{steps} weight steps each; give {self.where}.every=1 or more epochs"
                )

    def _from_batch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of pass after pass over the reserved images, from the one with this number on."""
        while True:
            epoch, start = divmod(number, len(self._loader))
            self._loader.sampler.set_epoch(epoch)
            self._loader.load_state_dict({"epoch": epoch, "step": start})
            for batch in self._loader:
                yield batch
                number += 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: SearchModule, outputs, batch, batch_idx) -> None:
        step = trainer.global_step
        if not pl_module.learns or pl_module.stage_epoch() < max(self.start_epoch, pl_module.warmup_epochs):
            return
        if step % self._every == 0 and step != self._step_of_weights:
            self._step_of_weights = step
            self.step(trainer, pl_module, next(self._batches))

    def step(self, trainer: pl.Trainer, pl_module: SearchModule, batch: tuple[Tensor, Tensor]) -> None:
        """One step of the architecture parameters; call it on all ranks, each with its own images."""
        tensors = _tensors(pl_module)
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        scaler = getattr(trainer.precision_plugin, "scaler", None)  # of float16, whose gradients would vanish
        scale = scaler.get_scale() if scaler is not None else 1.0
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
        for path in range(self.paths):
            loss = pl_module.architecture_loss(batch, *leaves, step=self.steps * self.paths + path)
            for gradient, own in zip(gradients, torch.autograd.grad(loss * scale, leaves), strict=True):
                gradient += own / (scale * self.paths)
        gradients = [trainer.strategy.reduce(gradient, reduce_op="mean") for gradient in gradients]
        if not math.isfinite(sum(float(gradient.sum()) for gradient in gradients)):
            raise UserError(
                f"the search has diverged: the gradient of architecture step {self.steps + 1} is not a number; "
                "a smaller optimizer.lr or a longer scheduler.warmup may help"
            )
        adam = self._adam_of(pl_module)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
        adam.step()
        for tensor in tensors:
            tensor.grad = None
        self.steps += 1

    def _adam_of(self, pl_module: SearchModule) -> torch.optim.Adam:
        """The optimizer of the architecture parameters; a new one where they have begun anew."""
        if not self._belongs_to(pl_module):
            groups = [
                {"params": [tensor], "lr": self.lr * factor} for tensor, factor in pl_module.architecture_tensors()
            ]
            self._adam = torch.optim.Adam(groups, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)
        return self._adam

    def _belongs_to(self, pl_module: SearchModule) -> bool:
        """Whether the optimizer is that of today's architecture parameters, and not of an earlier stage."""
        own = [group["params"][0] for group in self._adam.param_groups] if self._adam is not None else []
        today = _tensors(pl_module)
        return len(own) == len(today) and all(one is other for one, other in zip(own, today, strict=True))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: SearchModule) -> None:
        if self._batches is not None and hasattr(self._loader, "close"):
            self._loader.close()
        self._batches = None

    def state_dict(self) -> dict[str, Any]:
        own = self._saved
        if self._adam is not None:
            own = self._adam.state_dict() if self._belongs_to(self._module) else None
        return {"steps": self.steps, "step_of_weights": self._step_of_weights, "adam": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self._step_of_weights = state_dict["steps"], state_dict["step_of_weights"]
        self._adam, self._saved = None, state_dict["adam"]


def _tensors(pl_module: SearchModule) -> list[Tensor]:
    return [tensor for tensor, _ in pl_module.architecture_tensors()]
