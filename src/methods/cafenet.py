"""CafeNet: width search by locally free weight sharing (Su et al. 2021, https://arxiv.org/abs/2102.05258).

One super-net is trained whose weights serve every width of every layer; then widths are compared by what it makes of
them, and the best is trained from scratch. Usual super-nets let width c mean the first c channels, so that neighbouring
widths are nearly the same network. Here a width may stand for any of a few sets of channels about the cut: of each
width a few are scored, and the best is trained ("min-min", section 3 of the paper).

There is no public code of CafeNet, and of the paper only what its abstract and figures say was at hand: sizes, borders,
numbers of candidates and the search itself are a reconstruction, and stand as named fields in conf/method/cafenet.yaml.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from src.errors import UserError, check_choices, check_range, check_text
from src.methods.width_controls import CONTROLS, multiplied, random_widths, uniform_widths
from src.methods.width_evaluation import WidthEvaluation
from src.methods.width_supernet import WidthSupernet
from src.reporting import quantities
from src.reporting.candidates import Candidate, best_candidate
from src.runtime.checkpoints import load_checked, save_whole
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from src.spaces.space import admissible_band, macs_of_bound

SUPERNET = "supernet.pt"  # in the run folder: the weights of the super-net, and what its training has told of widths


class CafeNet(WidthSupernet):
    """A super-net of widths that is trained for `epochs` and then searched, in one fit.

    In the epoch after the last one of training a callback searches: `searching()`.

    Args:
        space: (base, input_shape) -> the widths that are searched, in bins.
        max_macs: the budget; below 10 a share of the MACs of the model that the search starts from. Where it admits the
            full super-net, that is the result, and nothing is trained. None: no budget.
        least_share: of the budget, which every candidate has to use at least.
        supernet: run folder of an earlier search with the same model, whose super-net is taken as it is: there is no
            training, and the widths are searched at once, under another budget say.
        supernet_width: of the super-net: all widths of the model times this factor (1.5 in some sources).
        controls: networks that are trained beside the found one for comparison, at its budget: "uniform", all widths of
            the base times one factor, and "random" ones.
        base, input_shape, settings: as `WidthSupernet` has them.

    Raises:
        UserError: an argument that is not allowed, or a budget that no width meets.
    """

    many_candidates = True

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        space: Callable[[dict[str, Any], tuple[int, int, int]], BinSpace] = BinSpace,
        max_macs: float | None = None,
        least_share: float = 0.8,
        controls: Sequence[str] = CONTROLS,
        supernet: str | None = None,
        supernet_width: float = 1.0,
        **settings,
    ) -> None:
        check_range("method.least_share", least_share, 0, 1)
        check_range("method.supernet_width", supernet_width, 0.1, 10)
        self.control_names = check_choices("method.controls", controls, CONTROLS)
        made = space(base, tuple(input_shape))
        self.base_network = {"macs": made.macs(made.start), "params": made.params(made.start)}
        if supernet_width != 1:
            made = space(made.config(multiplied(made, supernet_width)), tuple(input_shape))
        super().__init__(made, base, input_shape, **settings)
        self.budgeted = max_macs is not None
        self.macs_band = self._macs_band(max_macs, least_share)
        self.nothing_to_search = self.budgeted and self.macs_band[0] == self.space.reachable()[1]
        if self.nothing_to_search or supernet is not None:
            self.epochs = 0
        # read when the search begins: a resumed one has it in its checkpoint, wherever the file may be by then
        self.supernet = None if supernet is None else check_text("method.supernet", supernet)
        self.evaluations = 0  # how many widths the search will look at, at most; set by the callback that searches
        self.objectives: tuple[str, ...] | None = None  # of the front; set by the callback that searches
        self.sampling_state: dict[str, Any] | None = None  # what the run of `supernet` has told of the same bins

    def _macs_band(self, max_macs: float | None, least_share: float) -> tuple[int, int]:
        """The least and the most MACs of a candidate."""
        if max_macs is None:
            return self.space.reachable()
        most = macs_of_bound("method.max_macs", max_macs, self.base_network["macs"])
        full = self.space.reachable()[1]
        if most >= full:
            return full, full
        asked = f"method.max_macs={max_macs}"
        try:
            _, most = admissible_band(self.space, (None, most))
            asked += f", method.least_share={least_share}"
            band = admissible_band(self.space, (least_share * most, most))
            self.space.sample(1, keyed_generator(0, "band"), band)  # says so where nothing lies in the band
            return band
        except UserError as error:
            raise UserError(f"{asked}: {error}") from error

    # the search

    @property
    def trained(self) -> bool:
        """Whether the super-net has been trained at all, here or in the run that it was taken from."""
        return self.epochs > 0 or self.supernet is not None

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        if self.supernet is not None and checkpoint is None:  # else the checkpoint has it
            self._take_supernet(self.supernet)
        trainer.fit_loop.max_epochs = self.epochs + 1
        super().search(trainer, data, checkpoint)

    def evaluation(self, reduce: str) -> WidthEvaluation:
        """What evaluates widths, on all validation images."""
        data, plugin = self.trainer.datamodule, self.trainer.precision_plugin
        validation = data.whole_validation()
        return WidthEvaluation(
            self.network, self.task, self.calibration_batches(), validation, reduce, plugin.forward_context
        )

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self.space.config(candidate.architecture)

    def chosen(self) -> Candidate | None:
        """The candidate of lowest error, of equal ones the one of fewest MACs; where none has an error the dearest."""
        return best_candidate(self.candidates) or max(self.candidates, key=lambda c: c.macs, default=None)

    def architecture(self) -> dict[str, Any]:
        """What was chosen; the base as long as nothing was evaluated."""
        chosen = self.chosen()
        return self.candidate_config(chosen) if chosen else self.base

    def controls(self) -> dict[str, dict[str, Any]]:
        """The networks for comparison, by name, at the budget or else at the MACs of the found one."""
        chosen = self.chosen()
        if chosen is None or self.nothing_to_search:
            return {}
        least, most = self.macs_band if self.budgeted else (self.space.reachable()[0], chosen.macs)
        made = {
            "uniform": lambda: uniform_widths(self.space, most),
            "random": lambda: random_widths(self.space, least, most, keyed_generator(self.seed, "control")),
        }
        return {name: self.space.config(made[name]()) for name in self.control_names}

    def remark(self) -> str:
        """How much was evaluated, how many of the found widths a bound holds, and how much of the budget they use."""
        if self.nothing_to_search:
            return "the budget admits the full network: there was nothing to search"
        count, chosen = len(self.candidates), self.chosen()
        if chosen is None:
            return "no width was evaluated"
        text = "1 network was evaluated" if count == 1 else f"{count} networks were evaluated"
        row = self.space.row(chosen.architecture)
        free = self.space.low < self.space.high
        at_least, at_most = ((row == end)[free].sum() for end in (self.space.low, self.space.high))
        text += f"; of the found one's {int(free.sum())} widths {at_least} are at the minimum, {at_most} at the maximum"
        if not self.budgeted:
            return text
        most = self.macs_band[1]
        return f"{text}, and it uses {100 * chosen.macs / most:.1f} % of the budget of {quantities.amount(most)} MACs"

    def phase(self) -> str:
        return "searching widths" if self.searching() else "training the super-net"

    def progress(self) -> tuple[int, int] | None:
        """Evaluated widths and how many there will be at most, once the search has begun."""
        return (len(self.candidates), self.evaluations) if self.searching() and self.evaluations else None

    def log_step(self) -> int:
        return super().log_step() + len(self.candidates)

    # super-nets that other runs have trained

    def keep_supernet(self, path: str, sampling: dict[str, Any]) -> None:
        """Writes the super-net, with the state of the callback that has sampled its widths."""
        weights = {name: value.cpu() for name, value in self.network.state_dict().items()}
        edges = {name: list(own) for name, own in self.space.edges.items()}
        save_whole({"network": weights, "sampling": sampling, "edges": edges}, path)

    def _take_supernet(self, folder: str) -> None:
        path = FilePath(folder).expanduser() / SUPERNET
        if not path.is_file():
            raise UserError(f"method.supernet={folder}: there is no {SUPERNET} in it; give the folder of a CafeNet run")
        kept, own = load_checked(path), self.network.state_dict()
        if not isinstance(kept, Mapping) or {"network", "sampling", "edges"} - set(kept):
            raise UserError(f"method.supernet={folder}: its {SUPERNET} was not written by a CafeNet search")
        theirs = kept["network"]
        names = [*own, *(name for name in theirs if name not in own)]
        odd = next((name for name in names if _shape(own, name) != _shape(theirs, name)), None)
        if odd is not None:
            raise UserError(
                f"method.supernet={folder}: its super-net is of another model, or method.supernet_width: "
                f"{odd.removeprefix('model.')} has the shape {_shape(theirs, odd)} there and {_shape(own, odd)} here"
            )
        self.network.load_state_dict(theirs)
        if {name: tuple(edges) for name, edges in kept["edges"].items()} == self.space.edges:
            self.sampling_state = kept["sampling"]


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
