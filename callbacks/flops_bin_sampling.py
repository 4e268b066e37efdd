"""Draws the widths of each super-net step, and the index sets that compete for them (CafeNet, arXiv 2102.05258).

When to use: with `method=cafenet`. Cost: well under a millisecond a step for the draws; what the candidates of a step
cost lies with the method, which scores `k_train` of them on the same batch and trains the best.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from src.elastic.sharing import BORDERS, LARGEST_OFFSET, UNITS, LocallyFreeSharing
from src.elastic.width_statistics import WidthStatistics
from src.errors import UserError, check_choice, check_flag, check_range, check_whole
from src.reporting.bin_figures import bins_figure, evenness_figure
from src.runtime.ranks.agreement import gathered
from src.runtime.seeds import keyed_generator

MOST_CANDIDATES = 1024  # of a width: far more than pay


class FlopsBinSampling(pl.Callback):
    """Sets `row`, `paths` and `more_paths` of the module before each step, and notes what it made of them.

    Every group gets a number of bins, uniform and independent of the others; the row stands for many whole networks, of
    which `k_train` different ones are drawn. All is keyed by (seed, "width", optimizer step): equal on all ranks, and
    widths do not depend on the other arguments. After the step the module's `winner`, the place of the trained path,
    and `path_loss` (K,) are noted. The callback rests while the module is `searching()`.

    Args:
        offset_r, zone_border, zone_unit: which index sets a width may stand for (see `src.elastic.sharing`).
        k_train: candidates of a step.
        warmup_epochs: epochs at the start in which a step has one candidate.
        exploration: probability of a step with one candidate later on. It is as likely as any other, so that early
            winners do not go on winning because they alone were trained.
        sandwich: the module gets the widest path and a narrowest one to train beside (AutoSlim's rule; no known source
            has it for CafeNet).

    Raises:
        UserError: an argument that is not allowed, or a method that has no paths.
    """

    def __init__(
        self,
        offset_r: int = 1,
        k_train: int = 2,
        zone_border: str = "clip",
        zone_unit: str = "bin",
        warmup_epochs: int = 0,
        exploration: float = 0.0,
        sandwich: bool = False,
    ) -> None:
        self.offset_r = check_whole("method.offset_r", offset_r, 0, LARGEST_OFFSET)
        self.k_train = check_whole("method.k_train", k_train, 1, MOST_CANDIDATES)
        self.zone_border = check_choice("method.zone_border", zone_border, BORDERS)
        self.zone_unit = check_choice("method.zone_unit", zone_unit, UNITS)
        self.warmup_epochs = check_whole("method.warmup_epochs", warmup_epochs, 0)
        self.exploration = check_range("method.exploration", exploration, 0, 1)
        self.sandwich = check_flag("method.sandwich", sandwich)
        self.sharing: LocallyFreeSharing | None = None
        self.statistics: WidthStatistics | None = None
        self._numbers: list[tuple[int, ...]] = []  # the candidates of the step under way
        self._pending: list[tuple] = []  # steps whose results still lie on the device
        self._loaded: dict[str, Tensor] | None = None  # sums of a checkpoint that came before `setup`

    def __repr__(self) -> str:
        names = ("offset_r", "k_train", "zone_border", "zone_unit", "warmup_epochs", "exploration", "sandwich")
        return f"FlopsBinSampling({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.space = getattr(pl_module, "space", None)
        if not hasattr(pl_module, "paths") or not hasattr(self.space, "edges"):
            raise UserError(f"FlopsBinSampling needs method=cafenet, not {type(pl_module).__name__}")
        self.sharing = LocallyFreeSharing(
            self.space.edges, self.space.multiples, self.offset_r, self.zone_border, self.zone_unit
        )
        if self.statistics is None:
            self.statistics = WidthStatistics(self.sharing.counts)
        if self._loaded is not None:
            self.statistics.load_state_dict(self._loaded)
            self._loaded = None

    # before a step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        if _searching(pl_module):
            return
        generator = keyed_generator(pl_module.seed, "width", trainer.global_step)
        row = self.space.grid.uniform(1, generator)[0]
        explores = float(torch.rand((), generator=generator, dtype=torch.float64)) < self.exploration
        count = 1 if explores or trainer.current_epoch < self.warmup_epochs else self.k_train
        bins = row.tolist()
        self._numbers = self.sharing.draw_numbers(bins, count, generator)
        pl_module.row, pl_module.paths = row, [self.sharing.choice(bins, numbers) for numbers in self._numbers]
        pl_module.more_paths = []
        if self.sandwich:
            ends = self.space.high, self.space.low
            pl_module.more_paths = [self.sharing.draw(end.tolist(), 1, generator)[0] for end in ends]

    # after it: nothing here waits for a GPU

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if _searching(pl_module) or not self._numbers:
            return
        winner, losses = torch.as_tensor(pl_module.winner), pl_module.path_loss.detach().clone()
        self._pending.append((pl_module.row, self._numbers, winner, losses))
        self._numbers = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take_up()
        evenness = self.statistics.evenness().nanmean()
        if evenness.isfinite():
            name = f"{getattr(pl_module, 'prefix', '')}winner_evenness"
            pl_module.log(name, float(evenness), sync_dist=trainer.world_size > 1)

    def _take_up(self) -> None:
        """Adds the steps since the last call to the sums; the loss of a step is the mean over the ranks."""
        if not self._pending:
            return
        rows, numbers, winners, losses = zip(*self._pending, strict=True)
        self._pending = []
        rows, winners = torch.stack(rows), torch.stack(winners).cpu()
        candidates = torch.tensor([len(own) for own in numbers])
        losses = torch.cat(losses).to("cpu", torch.float64)[candidates.cumsum(0) - candidates + winners]
        self.statistics.add(rows, torch.stack(gathered(losses)).mean(0))
        chosen = candidates > 1
        if chosen.any():
            won = [own[place] for own, place in zip(numbers, winners.tolist(), strict=True)]
            self.statistics.add_wins(rows[chosen], torch.tensor(won)[chosen])

    def report_figures(self) -> list:
        """How the channels are cut into bins, and how evenly the index sets of a width win."""
        if self.sharing is None:
            return []
        shares = self.space.bin_shares()
        counts = {name: len(self.space.edges[name]) for name in shares}
        figures = [
            (
                "Bins",
                "Of each width group: its bins, the channels in one, and the share of all MACs that one costs.",
                bins_figure(counts, self.space.bin_sizes(), shares),
            )
        ]
        if self.k_train > 1 and self.offset_r > 0:
            evenness = dict(zip(self.sharing.names, self.statistics.evenness().tolist(), strict=True))
            caption = "How evenly the index sets of a width win, the mean over the widths of a group; 1: all as often."
            figures.append(("Winner entropy", caption, evenness_figure({name: evenness[name] for name in shares})))
        return figures

    def mean_losses(self) -> tuple[Tensor, Tensor]:
        """(G, B) mean training loss at each number of bins, NaN where it was never trained, and its steps.

        Call it on all ranks; what a prior of widths is made of.
        """
        self._take_up()
        return self.statistics.losses / self.statistics.steps, self.statistics.steps

    def state_dict(self) -> dict:
        """Call it on all ranks, as a checkpoint does: steps of which only this rank knows are gathered first."""
        self._take_up()
        return {"statistics": self.statistics.state_dict()} if self.statistics else {}

    def load_state_dict(self, state_dict: dict) -> None:
        if self.statistics is None:  # `setup` makes what the sums are kept in
            self._loaded = state_dict.get("statistics")
        elif "statistics" in state_dict:
            self.statistics.load_state_dict(state_dict["statistics"])


def _searching(pl_module: pl.LightningModule) -> bool:
    return callable(getattr(pl_module, "searching", None)) and bool(pl_module.searching())
