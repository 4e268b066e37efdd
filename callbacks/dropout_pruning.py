"""Moves the posterior of the gates and drops the operations that drown in noise (VINNAS, arXiv 2007.06103).

When to use: with `method=vinnas`. Cost: a step of Adam on a few hundred numbers; each dropped operation makes all later
steps cheaper, as it is not computed any more.
"""

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_betas, check_range, check_whole
from src.methods.vinnas import Vinnas
from src.reporting.cell_figures import gates_figure, live_figure
from src.variational.pruning import dropped
from src.variational.training import phases


class DropoutPruning(pl.Callback):
    """Warm-up with gates at their means, a ramp of their KL, and hard dropping at the ends of epochs.

    With `mode="joint"` the gates learn from the loss that the weights learn from, by an Adam of their own: their KL is
    a function of them alone, so its gradient is added once that of the loss has been averaged over the ranks. With
    "bilevel" `ArchitectureSteps` moves them, on images of their own.

    Args:
        gamma: of KL(z), in nats an image once it is in full force (gamma_z / N in the specification).
        warmup: share of the epochs without noise and without a step of the gates.
        ramp: share of the epochs over which gamma rises.
        drop_from: share of the epochs after which operations are dropped; None: from the end of the ramp on.
        patience: epochs on end that an operation has to be over the threshold.
        lr_theta, lr_log_sigma2, betas: of Adam.
    """

    def __init__(
        self,
        gamma: float = 0.02,
        warmup: float = 0.3,
        ramp: float = 0.3,
        drop_from: float | None = None,
        patience: int = 1,
        lr_theta: float = 3e-3,
        lr_log_sigma2: float = 2e-2,
        betas: Sequence[float] = (0.5, 0.999),
    ) -> None:
        self.gamma = check_range("method.structure.gamma", gamma, 0, 1e6)
        phases(1, warmup, ramp, 0, "method.structure")
        self.warmup, self.ramp = warmup, ramp
        if drop_from is not None:
            check_range("method.structure.drop_from", drop_from, 0, 1)
        self.drop_from, self.patience = drop_from, check_whole("method.structure.patience", patience, 1)
        self.lr_theta = check_range("method.structure.lr_theta", lr_theta, 0, 100)
        self.lr_log_sigma2 = check_range("method.structure.lr_log_sigma2", lr_log_sigma2, 0, 100)
        self.betas = check_betas("method.structure.betas", betas)
        self._over: Tensor | None = None  # epochs on end over the threshold, (T, E, O)
        self._adam: torch.optim.Adam | None = None
        self._saved: dict[str, Any] | None = None
        self._history: list[tuple[int, float]] = []  # live operations and gamma after each epoch

    def __repr__(self) -> str:
        return (
            f"DropoutPruning(gamma={self.gamma}, warmup={self.warmup}, ramp={self.ramp}, drop_from={self.drop_from}, "
            f"patience={self.patience}, lr_theta={self.lr_theta}, lr_log_sigma2={self.lr_log_sigma2}, "
            f"betas={self.betas})"
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if not isinstance(pl_module, Vinnas):
            raise UserError(f"DropoutPruning needs method=vinnas, not {type(pl_module).__name__}")
        self._module = pl_module
        self._phases = phases(pl_module.epochs, self.warmup, self.ramp, 0, "method.structure")
        if self._phases.ramp >= pl_module.epochs:
            raise UserError(
                f"method.structure.warmup={self.warmup} leaves none of method.epochs={pl_module.epochs} to the gates"
            )
        pl_module.warmup_epochs = self._phases.ramp
        pl_module.log_sigma2_rate = self.lr_log_sigma2 / self.lr_theta if self.lr_theta else 1.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Vinnas) -> None:
        gates = pl_module.gates
        if not pl_module.learns:
            groups = [
                {"params": [gates.theta], "lr": self.lr_theta},
                {"params": [gates.log_sigma2], "lr": self.lr_log_sigma2},
            ]
            self._adam = torch.optim.Adam(groups, betas=self.betas)
            if self._saved is not None:  # of a resumed run
                self._adam.load_state_dict(self._saved)
        if self._over is None:
            self._over = torch.zeros(gates.live.shape, dtype=torch.int64)
        self._enter(trainer, pl_module)  # a run that is resumed within an epoch does not start it again

    # in an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Vinnas) -> None:
        self._enter(trainer, pl_module)

    def _enter(self, trainer: pl.Trainer, pl_module: Vinnas) -> None:
        """Makes gates and super-net what they are in this epoch."""
        pl_module.noisy = trainer.current_epoch >= self._phases.ramp
        pl_module.show_live()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Vinnas, batch: Any, batch_idx: int) -> None:
        position = trainer.current_epoch + batch_idx / trainer.num_training_batches
        pl_module.gamma = self.gamma * self._phases.factor(position)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Vinnas, optimizer) -> None:
        if self._adam is not None:
            self._step(trainer, pl_module)

    def _step(self, trainer: pl.Trainer, pl_module: Vinnas) -> None:
        """Adds the gradient of the KL, which is the same on all ranks, and steps; in the warm-up the gates stay."""
        gates = pl_module.gates
        tensors = [gates.theta, gates.log_sigma2]
        scaler = getattr(trainer.precision_plugin, "scaler", None)  # it unscales only what the optimizer has
        scale = scaler.get_scale() if scaler is not None else 1.0
        if pl_module.noisy:
            leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
            penalty = pl_module.structure_penalty(*leaves)
            for tensor, own in zip(tensors, torch.autograd.grad(penalty, leaves), strict=True):
                tensor.grad = own if tensor.grad is None else tensor.grad / scale + own
            if not math.isfinite(sum(float(tensor.grad.sum()) for tensor in tensors)):
                if scaler is None:  # with one, a step that overflows is left out, as that of the weights is
                    raise UserError(
                        "the search has diverged: the gradient of the gates is not a number; a smaller optimizer.lr, "
                        "method.structure.gamma or method.structure.lr_log_sigma2 may help"
                    )
            else:
                self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    # at the end of an epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Vinnas) -> None:
        first = self._phases.full if self.drop_from is None else round(self.drop_from * pl_module.epochs)
        if trainer.current_epoch + 1 >= first:
            self._drop(pl_module)
        gates = pl_module.gates
        self._history.append((int(gates.live.sum()), pl_module.gamma))
        values = {"kl": float(gates.kl(pl_module.kl).detach()), "gamma": pl_module.gamma}
        for name, value in values.items():
            pl_module.log(f"structure/{name}", value, sync_dist=trainer.world_size > 1)

    @torch.no_grad()
    def _drop(self, pl_module: Vinnas) -> None:
        gates = pl_module.gates
        over = gates.prunable().cpu()
        self._over = torch.where(over, self._over + 1, 0)
        nodes = torch.tensor([node for node, _ in pl_module.space.edges])
        going = dropped(gates.log_alpha().cpu(), gates.live.cpu(), self._over, self.patience, nodes)
        if bool(going.any()):
            gates.live &= ~going.to(gates.live.device)
            pl_module.show_live()

    def report_figures(self) -> list:
        """[(heading, caption, figure)]: log alpha of every operation, and how many were left after each epoch."""
        if not self._history:
            return []
        module = self._module
        gates, space = module.gates, module.space
        alpha = gates.log_alpha().detach().cpu().tolist()
        left, gammas = zip(*self._history, strict=True)
        heat = gates_figure(alpha, space.operations, space.edges, module.threshold, gates.live.cpu().tolist())
        return [
            (
                "Gates",
                "log alpha = log(sigma^2 / theta^2) of each operation of each edge at the end: the larger, the more of "
                "it is noise. Those that were dropped are crossed out.",
                heat,
            ),
            (
                "Operations left",
                "Live operations of both cells after each epoch, beside the weight of KL(z) in nats an image.",
                live_figure(left, gammas),
            ),
        ]

    def state_dict(self) -> dict[str, Any]:
        own = self._adam.state_dict() if self._adam is not None else self._saved
        return {"adam": own, "over": self._over, "history": [list(entry) for entry in self._history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved, self._over = state_dict["adam"], state_dict["over"]
        self._history = [tuple(entry) for entry in state_dict["history"]]
