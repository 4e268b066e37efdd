"""CafeNet: width search by locally free weight sharing (Su et al. 2021, https://arxiv.org/abs/2102.05258).

One super-net is trained whose weights serve every width of every layer; then widths are compared by what it makes of
them, and the best is trained from scratch. Usual super-nets let width c mean the first c channels, so that neighbouring
widths are nearly the same network. Here a width may stand for any of a few sets of channels about the cut: of each
width a few are scored, and the best is trained ("min-min", section 3 of the paper).

There is no public code of CafeNet, and of the paper only what its abstract and figures say was at hand: sizes, borders,
numbers of candidates and the search itself are a reconstruction, and stand as named fields in conf/method/cafenet.yaml.
"""

from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from src.elastic.index_sets import Choice
from src.elastic.network import ElasticNetwork, Path
from src.elastic.sharing import LocallyFreeSharing
from src.elastic.statistics import Statistics
from src.errors import UserError, check_range, check_text, check_whole
from src.methods.search_module import SearchModule
from src.methods.width_controls import CONTROLS, check_controls, multiplied, random_widths, uniform_widths
from src.methods.width_evaluation import WidthEvaluation
from src.reporting import quantities
from src.reporting.candidates import Candidate, best_candidate
from src.runtime.build import network_from
from src.runtime.checkpoints import load_checked, save_whole
from src.runtime.mistakes import one_line
from src.runtime.seeds import keyed_generator, reseed
from src.spaces.bin_space import BinSpace
from src.spaces.space import admissible_band

SUPERNET = "supernet.pt"  # in the run folder: the weights of the super-net, and what its training has told of widths
_SHARES_BELOW = 10  # no network costs fewer than ten MACs


class CafeNet(SearchModule):
    """A super-net of widths that is trained for `epochs` and then searched, in one fit.

    Before each step a callback sets `paths`, candidates for one width that are scored on the same batch; the one of
    lowest loss (over all ranks; of equal ones the first) is trained. `more_paths` are trained beside it. In the epoch
    after the last one of training another callback searches: `searching()`.

    Args:
        epochs: of the super-net's training.
        space: (base, input_shape) -> the widths that are searched, in bins.
        max_macs: the budget; below 10 a share of the MACs of the model that the search starts from. Where it admits the
            full super-net, that is the result, and nothing is trained. None: no budget.
        least_share: of the budget, which every candidate has to use at least.
        score_share: of a batch, on which candidates are scored. 1: all of it, and the graph of the best one is kept for
            its backward pass; less: they are scored without gradients, then the best one makes its pass on the batch.
        calibration_images: of the training part, from which each path takes its statistics of batch norms.
        supernet: run folder of an earlier search with the same model, whose super-net is taken as it is: there is no
            training, and the widths are searched at once, under another budget say.
        supernet_width: of the super-net: all widths of the model times this factor (1.5 in some sources).
        controls: networks that are trained beside the found one for comparison, at its budget: "uniform", all widths of
            the base times one factor, and "random" ones.
        base, input_shape, seed, settings: as `SearchModule` has them.

    Raises:
        UserError: an argument that is not allowed, or a budget that no width meets.
    """

    many_candidates = True

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        epochs: int = 40,
        space: Callable[[dict[str, Any], tuple[int, int, int]], BinSpace] = BinSpace,
        max_macs: float | None = None,
        least_share: float = 0.8,
        score_share: float = 1.0,
        calibration_images: int = 2000,
        controls: Sequence[str] = CONTROLS,
        supernet: str | None = None,
        supernet_width: float = 1.0,
        **settings,
    ) -> None:
        self.epochs = check_whole("method.epochs", epochs, 0)
        self.calibration_images = check_whole("method.calibration_images", calibration_images, 2)
        check_range("method.least_share", least_share, 0, 1)
        self.score_share = check_range("method.score_share", score_share, 0.01, 1)
        self.control_names = check_controls(controls)
        check_range("method.supernet_width", supernet_width, 0.1, 10)
        self.space = space(base, tuple(input_shape))
        start = self.space.start
        self.base_network = {"macs": self.space.macs(start), "params": self.space.params(start)}
        if supernet_width != 1:
            self.space = space(self.space.config(multiplied(self.space, supernet_width)), tuple(input_shape))
        super().__init__(base, input_shape, **settings)
        self.config = self.space.config(self.space.start)
        self.network = self.fresh_network(self.config, 0)
        self.budgeted = max_macs is not None
        self.macs_band = self._macs_band(max_macs, least_share)
        if self.budgeted and self.macs_band[0] == self.space.reachable()[1]:
            self.epochs = 0
        self.paths: list[Choice] = []  # of the step under way
        self.more_paths: list[Choice] = []
        self.row: Tensor | None = None
        self.winner, self.path_loss = 0, torch.zeros(0)
        self._leftmost = LocallyFreeSharing(self.space.edges, self.space.multiples, offset=0)
        self.evaluations = 0  # how many widths the search will look at, at most; set by the callback that searches
        self._calibration: list[tuple[Tensor, Tensor]] | None = None
        self._val_paths: dict[str, tuple[Path, Statistics]] = {}
        self._more_metrics = nn.ModuleDict({name: self.task.metrics() for name in ("narrowest", "random")})
        self.sampling_state: dict[str, Any] | None = None  # what the run of `supernet` has told of the same bins
        if supernet is not None:
            self._take_supernet(supernet)

    def _macs_band(self, max_macs: float | None, least_share: float) -> tuple[int, int]:
        """The least and the most MACs of a candidate."""
        if max_macs is None:
            return self.space.reachable()
        check_range("method.max_macs", max_macs, 0, 1e18)
        most = max_macs * self.base_network["macs"] if max_macs < _SHARES_BELOW else max_macs
        full = self.space.reachable()[1]
        if most >= full:
            return full, full
        try:
            _, most = admissible_band(self.space, (None, most))
            return admissible_band(self.space, (least_share * most, most))
        except UserError as error:
            raise UserError(f"method.max_macs={max_macs}: {error}") from error

    def network_of(self, config: dict[str, Any]) -> nn.Module:
        """The super-net: the network of `config`, at full width, with elastic widths."""
        return ElasticNetwork(network_from(config), self.space.graph.at(self.space.start))

    # training

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

    # the search

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        trainer.fit_loop.max_epochs = self.epochs + 1
        super().search(trainer, data, checkpoint)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.network.bind()  # modules may have been replaced, by synchronised batch norms say

    def schedule_epochs(self) -> int:
        return max(self.epochs, 1)

    def evaluation(self, reduce: str) -> WidthEvaluation:
        """What evaluates widths, on all validation images."""
        data, plugin = self.trainer.datamodule, self.trainer.precision_plugin
        validation = data.whole_validation()
        return WidthEvaluation(
            self.network, self.task, self.calibration_batches(), validation, reduce, plugin.forward_context
        )

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self.space.config(candidate.architecture)

    def architecture(self) -> dict[str, Any]:
        """The candidate of lowest error (of equal ones the one of fewest MACs); without one the base."""
        best = best_candidate(self.candidates)
        return self.candidate_config(best) if best else self.base

    def controls(self) -> dict[str, dict[str, Any]]:
        """The networks for comparison, by name, at the budget or else at the MACs of the found one."""
        best = best_candidate(self.candidates)
        if best is None:
            return {}
        least, most = self.macs_band if self.budgeted else (self.space.reachable()[0], best.macs)
        made = {
            "uniform": lambda: uniform_widths(self.space, most),
            "random": lambda: random_widths(self.space, least, most, keyed_generator(self.seed, "control")),
        }
        return {name: self.space.config(made[name]()) for name in self.control_names}

    def remark(self) -> str:
        if not self.candidates:
            return "no width was evaluated"
        best = best_candidate(self.candidates)
        if self.budgeted and self.macs_band[0] == self.space.reachable()[1]:
            return "the budget admits the full network: there was nothing to search"
        count = len(self.candidates)
        text = f"{count} width{'' if count == 1 else 's'} were evaluated"
        if best is None or not self.budgeted:
            return text
        most = self.macs_band[1]
        share = 100 * best.macs / most
        return f"{text}; the found ones use {share:.1f} % of the budget of {quantities.amount(most)} MACs"

    def phase(self) -> str:
        return "searching widths" if self.searching() else "training the super-net"

    def progress(self) -> tuple[int, int] | None:
        """Evaluated widths and how many there will be at most, once the search has begun."""
        return (len(self.candidates), self.evaluations) if self.searching() and self.evaluations else None

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates)

    def report_figures(self) -> list:
        return [figure for c in self.trainer.callbacks if hasattr(c, "report_figures") for figure in c.report_figures()]

    # super-nets that other runs have trained

    def keep_supernet(self, path: str, sampling: dict[str, Any]) -> None:
        """Writes the super-net, with the state of the callback that has sampled its widths."""
        weights = {name: value.cpu() for name, value in self.network.state_dict().items()}
        edges = {name: list(own) for name, own in self.space.edges.items()}
        save_whole({"network": weights, "sampling": sampling, "edges": edges}, path)

    def _take_supernet(self, folder: str) -> None:
        path = FilePath(check_text("method.supernet", folder)).expanduser() / SUPERNET
        if not path.is_file():
            raise UserError(f"method.supernet={folder}: there is no {SUPERNET} in it; give the folder of a CafeNet run")
        kept = load_checked(path)
        try:
            self.network.load_state_dict(kept["network"])
            self.epochs = 0
            if {name: tuple(own) for name, own in kept["edges"].items()} == self.space.edges:
                self.sampling_state = kept["sampling"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"method.supernet={folder}: its super-net is of another model ({one_line(str(error))[:200]})"
            ) from error
