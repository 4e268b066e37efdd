"""AdaS: a learning rate for each layer from its knowledge gain (Hosseini & Plataniotis, arXiv 2006.06587).

When to use: to repeat CONet's published searches, which trained with it (conf/experiment), with `scheduler=constant`.
Cost: none beside `RankMeasurement`, which must stand before it.
"""

import pytorch_lightning as pl
from torch import nn
from torch.nn.modules.conv import _ConvNd

from src.errors import UserError, check_range

from .rank_measurement import RankMeasurement


class AdaS(pl.Callback):
    """After epoch t >= 1: lr(t + 1) = max(beta lr(t) + zeta (G(t) - G(t - 1)), min_lr), for each convolution.

    G is the mean knowledge gain of both unfoldings. Parameters that follow a convolution (its batch norm) share its
    rate; a linear layer takes the gain of the last convolution's output side; what precedes every convolution, the
    rate of the first. Every trial starts again from the optimizer's rate.

    Args:
        beta: decay; zeta: weight of the change of the gain; min_lr: floor of the rate. All as published by default.
    """

    def __init__(self, beta: float = 0.8, zeta: float = 1.0, min_lr: float = 1e-20) -> None:
        self.beta = check_range("adas.beta", beta, 0, 1)
        self.zeta = check_range("adas.zeta", zeta, 0)
        self.min_lr = check_range("adas.min_lr", min_lr, 0)

    def __repr__(self) -> str:
        return f"AdaS(beta={self.beta}, zeta={self.zeta}, min_lr={self.min_lr})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.measurement: RankMeasurement = pl_module.callback(RankMeasurement)
        if trainer.callbacks.index(self.measurement) > trainer.callbacks.index(self):
            raise UserError("RankMeasurement must stand before AdaS in method.callbacks")
        if self.measurement.every_n_epochs > 1:
            raise UserError("AdaS needs the ranks of every epoch: rank_measurement.every_n_epochs must be 1")
        if pl_module.scheduler is not None:
            raise UserError("AdaS sets the learning rates: give scheduler=constant beside it")
        pl_module.parameter_groups = lambda: layer_groups(pl_module.network)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        history = self.measurement.history
        if len(history) < 2:
            return
        for group in trainer.optimizers[0].param_groups:
            now, before = (_gain(epochs, group["layer"], group["sides"]) for epochs in (history, history[:-1]))
            group["lr"] = max(self.beta * group["lr"] + self.zeta * (now - before), self.min_lr)


def layer_groups(network: nn.Module) -> list[dict]:
    """One parameter group for each convolution with what follows it, and one for the linear layers."""
    groups: list[dict] = []
    early: list[nn.Parameter] = []
    for name, module in network.named_modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, _ConvNd) and module.groups == 1 and not module.transposed:
            groups.append({"params": [*early, *own], "layer": name, "sides": ("in", "out")})
            early = []
        elif isinstance(module, nn.Linear) and groups:
            last = next(group["layer"] for group in reversed(groups) if group["sides"] == ("in", "out"))
            groups.append({"params": own, "layer": last, "sides": ("out",)})
        elif own:
            (groups[-1]["params"] if groups else early).extend(own)
    if not groups:
        raise UserError("AdaS sets a learning rate for each convolution, and this network has none")
    return groups


def _gain(history: list[dict], layer: str, sides: tuple[str, ...]) -> float:
    """The mean knowledge gain of a layer after the last epoch of `history`.

    A factorisation that failed keeps the gain of the epoch before, as in the released code; as a gain of 0 it would
    look like a collapse of the layer, and its return like a leap.
    """
    gains = []
    for side in sides:
        measured = (epoch[layer, side] for epoch in reversed(history))
        gains.append(next((entry.gain for entry in measured if not entry.failed), 0.0))
    return sum(gains) / len(gains)
