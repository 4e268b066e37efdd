"""Trains the Gaussian weights of a network: the KL with a weight that grows, then the mask, then fine-tuning under it.

When to use: always where networks may be variational (`src.variational.conversion.variational`); a network without
variational layers is trained as if it were not there. Cost: a pass over all variational weights a step, small against
the second convolution that each such layer does.
"""

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.errors import UserError, check_betas, check_choice, check_range
from src.methods.training_module import TrainingModule
from src.variational.conversion import variational_layers
from src.variational.kl import KLS
from src.variational.training import FINE_TUNING, FULL, RAMP, WARM_UP, add_kl, flat, kl_of, log_sigma2_of, phases


class VariationalTraining(pl.Callback):
    """Variational weights of `pl_module.network`: theta by the user's optimizer, log sigma^2 by an Adam of its own.

    The gradient of gamma(t) / N * KL is added once an optimizer step, after DDP has averaged the gradients of the data
    and float16 was unscaled, and before clipping, which acts on theta only. N: the training images of the fit.

    Phases, that begin with an epoch: warm-up (no noise, no KL, log sigma^2 rests), a linear ramp of the KL, the full
    KL, and masked fine-tuning: weights whose log alpha has reached the threshold are 0 for good, the others are trained
    on without noise and without KL. There sigma follows theta such that alpha stays, so that the kept weights remain
    live and Monte-Carlo prediction is defined; but they were not trained with that noise: for Monte-Carlo prediction
    give finetune=0, then the mask is taken by evaluation itself. Without noise log sigma^2 has no gradient: DDP has to
    look for unused parameters, unless both warmup and finetune are 0.

    Args:
        kl: "ard" or "sparse_vd".
        gamma: of the KL after the ramp. 1 is the ELBO, which leaves nothing of networks with many weights an image.
        warmup, ramp, finetune: shares of the epochs, rounded to whole ones.
        where: the node of the config that these settings stand in, for messages.
        lr, betas: of Adam. It moves log sigma^2 by about lr a step: from -10 to the threshold takes 1,000 steps of
            0.01 where theta stays.
    """

    trains_variational_weights = True  # what TrainingModule looks for

    def __init__(
        self,
        kl: str = "ard",
        gamma: float = 0.2,
        warmup: float = 0.1,
        ramp: float = 0.4,
        finetune: float = 0.2,
        lr: float = 0.01,
        betas: Sequence[float] = (0.9, 0.999),
        where: str = "variational_training",
    ) -> None:
        self.where = where
        self.kl = check_choice(f"{where}.kl", kl, KLS)
        self.gamma = check_range(f"{where}.gamma", gamma, 0)
        phases(1, warmup, ramp, finetune, where)
        self.warmup, self.ramp, self.finetune = warmup, ramp, finetune
        self.lr = check_range(f"{where}.lr", lr, 0, 100)
        self.betas = check_betas(f"{where}.betas", betas)
        self._begin()

    def _begin(self) -> None:
        self.phase = ""  # for the progress bar; empty where there is nothing to train
        self._network = None
        self._idle = False
        self._layers: list = []
        self._adam: torch.optim.Adam | None = None
        self._saved: dict[str, Any] | None = None  # of Adam, from a checkpoint
        self._log_alpha: Tensor | None = None  # flat, of all weights, since fine-tuning began

    def __repr__(self) -> str:
        return (
            f"VariationalTraining(kl={self.kl!r}, gamma={self.gamma}, warmup={self.warmup}, ramp={self.ramp}, "
            f"finetune={self.finetune}, lr={self.lr}, betas={self.betas})"
        )

    @property
    def state_key(self) -> str:
        """Of its state in a checkpoint: a search may have one of its own beside that for all."""
        return self._generate_state_key(where=self.where)

    def setup(self, trainer: pl.Trainer, pl_module: TrainingModule, stage: str) -> None:
        if stage == "fit":
            self._begin()
            first = next(callback for callback in trainer.callbacks if isinstance(callback, VariationalTraining))
            self._idle = first is not self  # a method brings its own, which comes before the one for all

    def on_train_start(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        self._enter(trainer, pl_module)

    def _enter(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        """Makes the layers what they are in this epoch; a fit that is resumed within an epoch begins here too."""
        if self._idle:
            return
        if self._network is not pl_module.network:
            self._take(trainer, pl_module)
        if not self._layers:
            return
        epochs = pl_module.schedule_epochs()  # of one trial, where a search trains several networks
        self._phases = phases(epochs, self.warmup, self.ramp, self.finetune)
        self.phase = self._phases.name(trainer.current_epoch % epochs)
        if self.phase == FINE_TUNING and self._log_alpha is None:
            for layer in self._layers:
                layer.freeze()
            self._log_alpha = flat([layer.log_alpha().detach().float() for layer in self._layers])
        if self.phase == FINE_TUNING:
            self._adam = self._saved = None
        for layer in self._layers:
            layer.noisy = self.phase in (RAMP, FULL)  # the noise that weights begin with would only double the cost

    def _take(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        """Takes up the network of the fit, with a new Adam or the one of the checkpoint."""
        if self._network is not None:  # the search has replaced it
            self._log_alpha = None
        self._module, self._network, self.phase = pl_module, pl_module.network, ""
        self._layers = list(variational_layers(pl_module.network).values())
        self._adam = None
        if not self._layers:
            return
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if not {layer.log_sigma2 for layer in self._layers}.isdisjoint(p for group in groups for p in group["params"]):
            raise UserError(
                f"{type(pl_module).__name__}.parameter_groups() must leave log_sigma2 to VariationalTraining"
            )
        self._images = training_images(trainer)
        self._adam = torch.optim.Adam(
            [layer.log_sigma2 for layer in self._layers], lr=self.lr, betas=self.betas, foreach=True
        )
        if self._saved is not None:
            self._adam.load_state_dict(self._saved)
            self._saved = None

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: TrainingModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not self._layers or self.phase == FINE_TUNING:
            return
        # layers whose operation is dead in this step of a super-net have no gradient, and no KL
        layers = [layer for layer in self._layers if layer.log_sigma2.grad is not None]
        if layers and self.phase != WARM_UP:
            scaler = getattr(trainer.precision_plugin, "scaler", None)  # of float16
            if scaler is not None:
                scaler.unscale_(self._adam)
            # a fused optimizer unscales theta's gradients in its own step, which is still to come
            scaled = scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False)
            add_kl(layers, self.kl, self._gamma(trainer) / self._images, scaler.get_scale() if scaled else 1.0)
            scaler.step(self._adam) if scaler is not None else self._adam.step()
        for layer in self._layers:
            layer.log_sigma2.grad = None

    def _gamma(self, trainer: pl.Trainer) -> float:
        loop = trainer.fit_loop.epoch_loop
        epoch = trainer.current_epoch % self._phases.epochs
        return self.gamma * self._phases.factor(epoch + loop.batch_idx / trainer.num_training_batches)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        self._follow()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        self._follow()
        if not self._layers:
            return
        kl = float(kl_of(self._layers, self.kl))
        if not math.isfinite(kl):
            raise UserError(
                f"the training has diverged: the KL of epoch {trainer.current_epoch + 1} is not a number; a smaller "
                f"optimizer.lr, {self.where}.lr or {self.where}.gamma may help"
            )
        live = float(sum(layer.live().sum() for layer in self._layers))
        pl_module.add_epoch_values(
            {
                "train/kl": kl / self._images,
                "train/gamma": self._gamma(trainer),
                "train/live_weights": live / sum(layer.weight.numel() for layer in self._layers),
            }
        )

    def _follow(self) -> None:
        """Of fine-tuning: sigma follows theta."""
        if self._log_alpha is None or self.phase != FINE_TUNING:
            return
        self._log_alpha = self._log_alpha.to(self._layers[0].weight.device)
        ratios = self._log_alpha.split([layer.weight.numel() for layer in self._layers])
        for layer, ratio in zip(self._layers, ratios, strict=True):
            moved = log_sigma2_of(ratio.view(layer.weight.shape), layer.weight.detach(), layer.threshold)
            layer.log_sigma2.data.copy_(torch.where(layer.kept, moved, layer.log_sigma2.detach()))

    def state_dict(self) -> dict[str, Any]:
        if self._network is not None and self._network is not self._module.network:
            return {"adam": None, "log_alpha": None}  # the search goes on with another network
        adam = self._saved if self._adam is None else self._adam.state_dict()
        return {"adam": adam, "log_alpha": self._log_alpha}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved, self._log_alpha = state_dict["adam"], state_dict["log_alpha"]


def training_images(trainer: pl.Trainer) -> int:
    """How many training images a fit sees in an epoch, on all ranks together."""
    loader = trainer.train_dataloader
    count = getattr(getattr(loader, "sampler", None), "count", None)
    count = len(loader.dataset) if count is None else count
    seen = trainer.num_training_batches * loader.batch_size * trainer.world_size
    return int(min(count, seen))
