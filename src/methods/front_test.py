"""Many trained networks in one pass over the validation and one over the test part, on all ranks together."""

from collections.abc import Mapping

import pytorch_lightning as pl
from torch import Tensor, nn
from torchmetrics import MetricCollection

from src.methods.slices import outputs_in_slices


class FrontTest(pl.LightningModule):
    """`errors` after `trainer.validate`, and `tested` after `trainer.test`: of each network what the task measures.

    Args:
        networks: by name; none of them is changed.
        task: has `metrics()` and maybe `test_metrics()`.
        doing: what is tested, for the progress bar.
    """

    def __init__(self, networks: Mapping[str, nn.Module], task, doing: str = "the front") -> None:
        super().__init__()
        self.names = list(networks)
        self.networks = nn.ModuleList(networks.values())
        tested = getattr(task, "test_metrics", task.metrics)
        self.val_metrics = nn.ModuleList([task.metrics() for _ in self.names])
        self.test_metrics = nn.ModuleList([tested() for _ in self.names])
        self.doing = doing
        self.errors: dict[str, float] = {}
        self.tested: dict[str, dict[str, float]] = {}

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._update(self.val_metrics, batch)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._update(self.test_metrics, batch)

    def _update(self, metrics: nn.ModuleList, batch: tuple[Tensor, Tensor]) -> None:
        images, targets = batch
        for network, own in zip(self.networks, metrics, strict=True):
            own.update(outputs_in_slices(network, images), targets)

    def on_validation_epoch_end(self) -> None:
        self.errors = {name: values["error"] for name, values in self._computed(self.val_metrics).items()}

    def on_test_epoch_end(self) -> None:
        self.tested = self._computed(self.test_metrics)

    def _computed(self, metrics: nn.ModuleList) -> dict[str, dict[str, float]]:
        found = {}
        for name, own in zip(self.names, metrics, strict=True):
            found[name] = {key: float(value) for key, value in _values(own).items()}
            own.reset()
        return found


def _values(metrics: MetricCollection) -> dict[str, Tensor]:
    return metrics.compute()
