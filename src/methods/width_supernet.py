"""A super-net of widths in training: candidates for one width are scored on a batch, and the best one is trained.

"Min-min" (CafeNet, https://arxiv.org/abs/2102.05258, section 3): over random widths c, the weights are to make small
the least loss of any of the sets of channels A(c) that c may stand for,

    W* = argmin_W E_c [ min_{a in A(c)} L(a; W) ]

The formula is recalled, not read. Of A(c) a step looks at a few that a callback draws.
"""

from typing import Any

import torch
from torch import Tensor, nn

from src.elastic.index_sets import Choice
from src.elastic.network import ElasticNetwork, Path
from src.elastic.sharing import LocallyFreeSharing
from src.elastic.statistics import Statistics
from src.errors import check_range, check_whole
from src.methods.search_module import SearchModule
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator, reseed
from src.spaces.bin_space import BinSpace


class WidthSupernet(SearchModule):
    """Trains the widths of `space` for `epochs`.

    Before each step a callback sets `paths`, candidates for one width that are scored on the same batch; the one of
    lowest loss (over all ranks; of equal ones the first) is trained. `more_paths` are trained beside it. What came of
    the step stands in `winner` and `path_loss`, the losses (K,) of the candidates.

    Args:
        space: what is searched; its `start` is the full width.
        epochs: of training.
        score_share: of a batch, on which candidates are scored. 1: all of it, and the graph of the best one is kept for
            its backward pass; less: they are scored without gradients, then the best one makes its pass on the batch.
        calibration_images: of the training part, from which each path takes its statistics of batch norms.
        base, input_shape, settings: as `SearchModule` has them.
    """

    def __init__(
        self,
        space: BinSpace,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        epochs: int = 60,
        score_share: float = 1.0,
        calibration_images: int = 2000,
        **settings,
    ) -> None:
        self.space = space
        self.epochs = check_whole("method.epochs", epochs, 0)
        self.score_share = check_range("method.score_share", score_share, 0.01, 1)
        self.calibration_images = check_whole("method.calibration_images", calibration_images, 2)
        super().__init__(base, input_shape, **settings)
        self.config = space.config(space.start)
        self.network = self.fresh_network(self.config, 0)
        self.paths: list[Choice] = []  # of the step under way
        self.more_paths: list[Choice] = []
        self.row: Tensor | None = None
        self.winner, self.path_loss = 0, torch.zeros(0)
        self._leftmost = LocallyFreeSharing(space.edges, space.multiples, offset=0)
        self._calibration: list[tuple[Tensor, Tensor]] | None = None
        self._val_paths: dict[str, tuple[Path, Statistics]] = {}
        self._more_metrics = nn.ModuleDict({name: self.task.metrics() for name in ("narrowest", "random")})

    def network_of(self, config: dict[str, Any]) -> nn.Module:
        """The super-net: the network of `config`, at full width, with elastic widths."""
        return ElasticNetwork(network_from(config), self.space.graph.at(self.space.start))

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.network.bind()  # modules may have been replaced, by synchronised batch norms say

    def schedule_epochs(self) -> int:
        return max(self.epochs, 1)

    def searching(self) -> bool:
        """Whether the super-net has had its training."""
        return self.current_epoch >= self.epochs

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        loss = self._trained_loss(images, targets, index)
        self._add_loss("train", loss, len(images))
        for choice in self.more_paths:
            loss = loss + self._loss(images, targets, self.network.path(choice))
        return loss

    def _loss(self, images: Tensor, targets: Tensor, path: Path, statistics: Any = "live") -> Tensor:
        return self.task.loss(self(images, path, statistics), targets)

    def _trained_loss(self, images: Tensor, targets: Tensor, index: int) -> Tensor:
        """The loss of the best candidate: min over the candidates of a width (equation of section 3, recalled)."""
        paths = [self.network.path(choice) for choice in self.paths]
        if len(paths) == 1:
            loss = self._loss(images, targets, paths[0])
            self.winner, self.path_loss = 0, loss.detach()[None]
            return loss
        if self.score_share < 1:
            return self._scored_then_trained(images, targets, paths, index)
        best, losses = None, []
        for number, path in enumerate(paths):
            statistics = self.network.selected_statistics(path)
            self._draw_alike(index)
            loss = self._loss(images, targets, path, statistics)
            losses.append(self._over_ranks(loss))
            if best is None or losses[-1] < losses[best[0]]:  # the graph of the loser is freed
                best = (number, loss, statistics)
        self.winner, self.path_loss = best[0], torch.stack(losses)
        best[2].write_back(self.network.norms)
        return best[1]

    def _scored_then_trained(self, images: Tensor, targets: Tensor, paths: list[Path], index: int) -> Tensor:
        count = max(2, round(self.score_share * len(images)))
        losses = []
        with torch.no_grad():
            for path in paths:
                self._draw_alike(index)
                losses.append(self._over_ranks(self._loss(images[:count], targets[:count], path, None)))
        self.path_loss = torch.stack(losses)
        self.winner = int(self.path_loss.argmin())
        self._draw_alike(index)
        return self._loss(images, targets, paths[self.winner])

    def _draw_alike(self, index: int) -> None:
        """Dropout is drawn alike for all candidates, so that luck does not choose among them."""
        reseed(self.seed, "step", self.prefix, self.current_epoch, index, self.global_rank)

    def _over_ranks(self, loss: Tensor) -> Tensor:
        """The mean of a loss over all ranks, which have to choose alike; what is not a number never wins."""
        mean = self.trainer.strategy.reduce(loss.detach().float(), reduce_op="mean")
        return torch.where(mean.isnan(), torch.inf, mean)

    # validation: the full width, the narrowest and a random one, each with statistics of its own

    def on_validation_start(self) -> None:
        rows = {"": self.space.high, "narrowest": self.space.low, "random": self._random_row()}
        images = [batch[0] for batch in self.calibration_batches()]
        for name, row in rows.items():
            path = self.network.path(self._leftmost.prefix(row))
            with self.trainer.precision_plugin.forward_context():
                self._val_paths[name] = (path, self.network.calibrated(path, images))

    def _random_row(self) -> Tensor:
        generator = keyed_generator(self.seed, "validation", self.current_epoch)
        return self.space.row(self.space.sample(1, generator)[0])

    def calibration_batches(self) -> list[tuple[Tensor, Tensor]]:
        """Training batches that statistics of batch norms are taken from: the same for all widths and ranks."""
        if self._calibration is None:
            self._calibration = self.trainer.datamodule.calibration_batches(self.calibration_images)
        return self._calibration

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, targets = batch
        for name, (path, statistics) in self._val_paths.items():
            outputs = self(images, path, statistics)
            if name:
                self._more_metrics[name].update(outputs, targets)
            else:
                self._add_loss("val", self.task.loss(outputs, targets), len(images))
                self.val_metrics.update(outputs, targets)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        for name, metrics in self._more_metrics.items():
            error = metrics.compute()["error"]
            self.log(f"{self.prefix}val/error_{name}", error, sync_dist=self.trainer.world_size > 1)
            metrics.reset()

    def on_train_epoch_end(self) -> None:
        if not self.searching():  # else nothing was trained
            super().on_train_epoch_end()
