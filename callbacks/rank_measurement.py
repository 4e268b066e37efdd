"""Measures the rank of every convolution weight after each epoch (CONet, https://arxiv.org/abs/2108.06822, section 3).

When to use: with `ChannelRescaling` or `AdaS`, which decide by it. Cost: one batched eigenvalue problem an epoch, in
float64, on one thread: 20 ms for ResNet-20, 0.7 s for ResNet-34 at full width; `every_n_epochs` makes it rarer.
"""

import time

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from src.errors import check_choice, check_whole
from src.lowrank.evbmf import SOLVERS
from src.lowrank.metrics import NORMALISATIONS, RankMetrics, failed_keys, measure
from src.lowrank.unfolding import SIDES
from src.runtime.ranks.agreement import gathered
from src.runtime.ranks.sharding import own_share


class RankMeasurement(pl.Callback):
    """Keeps `history`: one dict (layer, "in" | "out") -> RankMetrics for each epoch of the trial under way.

    Args:
        solver: "exact" (scale-free, global) or "reference" (as CONet's released code has it, with its failures).
        normalise: the rank as a share of the "rows" of the unfolding (released code) or of its "ceiling", the largest
            rank that it could have, so that one threshold serves all kernel sizes.
        every_n_epochs: the epochs between are left out of the curves; the last of a trial is always measured.
    """

    def __init__(self, solver: str = "exact", normalise: str = "rows", every_n_epochs: int = 1) -> None:
        self.solver = check_choice("rank_measurement.solver", solver, SOLVERS)
        self.normalise = check_choice("rank_measurement.normalise", normalise, NORMALISATIONS)
        self.every_n_epochs = check_whole("rank_measurement.every_n_epochs", every_n_epochs, 1)
        self.history: list[dict[tuple[str, str], RankMetrics] | None] = []
        self.failures = 0
        self.seconds = 0.0

    def __repr__(self) -> str:
        return f"RankMeasurement({self.solver!r}, {self.normalise!r}, every_n_epochs={self.every_n_epochs})"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        began = time.monotonic()
        last = len(self.history) + 1 == getattr(pl_module, "epochs_per_trial", 0)
        due = len(self.history) % self.every_n_epochs == 0 or last
        self.history.append(self.measure(pl_module.network) if due else None)
        self.seconds += time.monotonic() - began

    @torch.no_grad()
    def measure(self, network: nn.Module) -> dict[tuple[str, str], RankMetrics]:
        """The metrics of all ungrouped convolutions and linear layers of `network`, all layers at once.

        Under DDP each rank measures its share of the layers and all get all: call it on every rank.
        """
        weights = {
            name: module.weight.detach()
            for name, module in network.named_modules()
            if (isinstance(module, _ConvNd) and module.groups == 1 and not module.transposed)
            or isinstance(module, nn.Linear)
        }
        names = list(weights)
        share = own_share([_work(weight) for weight in weights.values()])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # small matrices: threads that wait for each other cost more than they bring
        try:
            own = measure({names[i]: weights[names[i]] for i in share}, self.solver, self.normalise)
        finally:
            torch.set_num_threads(threads)
        found = {key: entry for part in gathered(own) for key, entry in part.items()}
        metrics = {(name, side): found[name, side] for name in names for side in SIDES}
        self.failures += len(failed_keys(metrics))
        return metrics

    def begin_trial(self) -> None:
        """Forgets the epochs of the trial that has ended."""
        self.history = []

    def state_dict(self) -> dict:
        rows = [
            None if epoch is None else [[*key, *vars(entry).values()] for key, entry in epoch.items()]
            for epoch in self.history
        ]
        return {"history": rows, "failures": self.failures, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict) -> None:
        self.failures, self.seconds = state_dict["failures"], state_dict["seconds"]
        self.history = [
            None if epoch is None else {(row[0], row[1]): RankMetrics(*row[2:]) for row in epoch}
            for epoch in state_dict["history"]
        ]


def _work(weight: torch.Tensor) -> float:
    """What the eigenvalue problems of both unfoldings of a weight (O, I, *kernel) cost, up to a factor."""
    rows, columns = weight.shape[:2]
    kernel = weight[0, 0].numel()
    out, into = (min(rows, columns * kernel), rows * columns * kernel), (min(columns, rows * kernel), weight.numel())
    return sum(side**3 + side * size for side, size in (out, into))
