"""NAT: a super-net is adapted to the task while its sub-nets evolve (https://arxiv.org/abs/2005.05859).

As ENCAS reproduces it (https://arxiv.org/abs/2203.00888); the settings of either are named in conf/method/nat.yaml. The
result is a front of sub-nets, error against MACs, with the weights of the super-net: none has to be trained again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from src.errors import UserError, check_flag, check_text
from src.evolution.budget import keys
from src.methods.kept_network import KeptNetwork, name_of
from src.methods.subnet_draws import distinct_rows
from src.methods.subnet_evolution import SUPERNET, SubnetEvolution
from src.methods.subnet_proposals import Proposals
from src.methods.subnet_results import SubnetResults
from src.methods.weights import load_weights, weights_of
from src.networks.elastic_mobile.ofa_weights import load_ofa
from src.reporting.candidates import Candidate, best_candidate, pareto_front
from src.reporting.subnet_names import short_subnet
from src.runtime.architecture import FRONT
from src.runtime.checkpoints import save_whole
from src.runtime.ranks.agreement import rank
from src.runtime.ranks.sharding import sharded_map
from src.runtime.seeds import keyed_seed
from src.spaces.space import admissible_band, macs_of_bound
from src.spaces.subnet_space import SubnetSpace
from src.whole_files import output_folder

LARGEST = "largest"  # sub-net of the super-net, with which the report compares


class NAT(SubnetEvolution):
    """One super-net. A row is a sub-net.

    Args:
        folder: the run folder.
        proposals: how the next archive is found.
        max_macs: of every sub-net that is searched; below 10 a share of the MACs of the largest one. None: no bound.
        pretrained: a file with OFA's released weights, to start from; of several width multipliers one for each.
        supernet: the run folder of an earlier search with the same model, to start from its weights.
        from_scratch: whether the largest and the found sub-net are also trained from fresh weights, for comparison.
        base: model config of an `ElasticSupernet`.
        input_shape, settings: as `SubnetEvolution` has them.

    Raises:
        UserError: an argument that is not allowed, or a bound below the smallest sub-net.
    """

    remedies = "one of them, or trained weights by method.pretrained or method.supernet"

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        folder: str,
        proposals: Proposals | None = None,
        max_macs: float | None = None,
        pretrained: str | Sequence[str] | None = None,
        supernet: str | None = None,
        from_scratch: bool = False,
        seed: int = 0,
        **settings,
    ) -> None:
        self.run_folder = check_text("method.module.folder", folder)
        self.pretrained = _files(pretrained)
        self.given_supernet = None if supernet is None else check_text("method.supernet", supernet)
        if pretrained is not None and supernet is not None:
            raise UserError("method.pretrained and method.supernet exclude each other: give one of them")
        self.given_weights = pretrained or supernet
        self.proposals = proposals or Proposals()
        self.from_scratch = check_flag("method.from_scratch", from_scratch)
        self.space = SubnetSpace(base, tuple(input_shape))
        self.most = self._most(max_macs)
        super().__init__(base, input_shape, [self.space], seed=seed, **settings)
        self.results: SubnetResults | None = None
        self._validation: Iterable[tuple[Tensor, Tensor]] = ()

    def _most(self, max_macs: float | None) -> int:
        largest = self.space.reachable()[1]
        if max_macs is None:
            return largest
        try:
            return admissible_band(self.space, (None, macs_of_bound("method.max_macs", max_macs, largest)))[1]
        except UserError as error:
            raise UserError(f"method.max_macs={max_macs}: {error}") from error

    def first_archive(self) -> NDArray:
        """As `distinct_rows`; `UserError` where no archive could be as large as it should."""
        wanted = max(self.doe, self.archive_size)
        rows = distinct_rows(self.space, wanted, self.most, keyed_seed(self.seed, "first archive"))
        if len(rows) < wanted:
            name = "doe" if len(rows) < self.doe else "archive"
            more = "; a larger method.max_macs allows more" if self.most < self.space.reachable()[1] else ""
            raise UserError(
                f"method.{name}={getattr(self, 'archive_size' if name == 'archive' else name)} is not allowed; no more "
                f"than {len(rows)} different sub-nets have been found that have at most {self.most:,} MACs{more}"
            )
        return rows[: self.doe]

    def subnet_rows(self, rows: NDArray) -> list[NDArray]:
        return [rows]

    def supernet(self, number: int) -> nn.Module:
        return self.network

    def most_macs(self) -> float:
        return float(self.space.reachable()[1])

    def search(self, trainer: pl.Trainer, data: pl.LightningDataModule, checkpoint: str | None = None) -> None:
        if checkpoint is None:  # else the checkpoint has them
            if self.pretrained:
                self._take_pretrained(self.pretrained)
            if self.given_supernet is not None:
                self._take_supernet(self.given_supernet)
        super().search(trainer, data, checkpoint)

    def _take_pretrained(self, paths: Sequence[str]) -> None:
        told, multipliers = f"method.pretrained={', '.join(paths)}", self.space.macro.multipliers
        if len(paths) != len(multipliers):
            raise UserError(
                f"{told} is not allowed; it must be a file for each width multiplier, model.widths={list(multipliers)}"
            )
        try:
            left = [load_ofa(self.network, Path(p).expanduser(), m) for p, m in zip(paths, multipliers, strict=True)]
        except UserError as error:
            raise UserError(f"{told}: {error}") from error
        if not self.plan.phases and any("classifier" in name for names in left for name in names):
            raise UserError(
                f"{told}: its classifier is for another number of classes, and with method.epochs=0 and "
                "method.warmup_epochs=0 nothing trains a new one: give one of them"
            )

    def _take_supernet(self, folder: str) -> None:
        path = Path(folder).expanduser() / SUPERNET
        if not path.is_file():
            raise UserError(f"method.supernet={folder}: there is no {SUPERNET} in it; give the folder of a NAT run")
        try:
            load_weights(self.network, path)
        except UserError as error:
            raise UserError(f"method.supernet={folder}: {error}") from error

    # archives, for the callback

    def known_rows(self, candidates: Sequence[Candidate]) -> NDArray:
        if not candidates:
            return np.empty((0, len(self.space.alphabet)), dtype=np.int64)
        return np.array([self.space.row(candidate.architecture) for candidate in candidates])

    def begin_evaluation(self, validation: Iterable[tuple[Tensor, Tensor]]) -> tuple[list, list[float]]:
        self.outdate()
        self._validation = validation
        known = set(keys(self.known_rows(self.current_candidates())))
        todo = self.archive[[key not in known for key in keys(self.archive)]]
        return list(todo), self.space.macs_of(todo).tolist() if len(todo) else []

    def evaluated(self, item: NDArray) -> tuple[float, float]:
        """Error in percent and seconds of a row (d,)."""
        began = time.monotonic()
        _, error = self.outputs_of(self.calibrated(0, item), self._validation)
        return error, time.monotonic() - began

    def take(self, trainer: pl.Trainer, item: NDArray, result: tuple[float, float]) -> None:
        error, seconds = result
        candidate = Candidate(
            id=len(self.candidates),
            parent=None,
            step=trainer.current_epoch,
            error=error,
            macs=int(self.space.macs_of(item[None])[0]),
            params=int(self.space.params_of(item[None])[0]),
            seconds=seconds,
            architecture=self.space.genotype(item),
            extra={"iteration": self.today()},
        )
        self.record(trainer, candidate)

    def proposed(self, check: Callable[[], None]) -> tuple[NDArray, list[float]]:
        """With weights that stay, rows that are new are asked for, else a whole archive."""
        current = self.current_candidates()
        rows, errors = self.known_rows(current), np.array([candidate.error for candidate in current])
        seed = keyed_seed(self.seed, "proposals", self.iteration)
        anew = not self.reevaluates
        return self.proposals.next_archive(
            self.space, rows, errors, self.archive_size, self.most, seed, anew=anew, report=check
        )

    def keep(self, folder: str) -> None:
        front = pareto_front(self.candidates)
        rows = {name_of(c): self.space.row(c.architecture) for c in front} | {LARGEST: self.space.largest}
        items = list(rows.items())
        costs = self.space.macs_of(np.array(list(rows.values()))).tolist()
        states = sharded_map(lambda item: weights_of(self.calibrated(0, item[1])), items, costs)
        if rank() == 0:
            for (name, _), state in zip(items, states, strict=True):
                save_whole(state, Path(output_folder(Path(folder) / FRONT)) / f"{name}.pt")
            save_whole(weights_of(self.network), Path(folder) / SUPERNET)

    # the result

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self.space.config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        return {"sub-net": short_subnet(candidate.architecture)}

    def chosen(self) -> Candidate | None:
        """The sub-net of lowest validation error."""
        return best_candidate(self.candidates)

    def architecture(self) -> dict[str, Any]:
        """The chosen sub-net; before there is one the largest."""
        chosen = self.chosen()
        return self.space.config(chosen.architecture if chosen else self.space.start)

    def compare(self, recipe, name: str, data, loggers, progress) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """Tests the front with the weights that it shares; the rows of the final table and the found network."""
        self.results = SubnetResults(self, recipe, data)
        return self.results.rows(name, loggers, progress, self.from_scratch)

    def kept_networks(self) -> list[KeptNetwork]:
        """The largest sub-net, then the front."""
        folder = Path(self.run_folder) / FRONT
        base = KeptNetwork(LARGEST, self.space.config(self.space.start), folder / f"{LARGEST}.pt")
        front = [
            KeptNetwork.of(c, self.candidate_config(c), folder / f"{name_of(c)}.pt")
            for c in pareto_front(self.candidates)
        ]
        return [base, *front]

    def remark(self) -> str:
        text = f"{len(self.candidates):,} evaluations of sub-nets in {self.archives_told()}"
        return f"{text}; {self.results.told()}" if self.results else text


def _files(pretrained: str | Sequence[str] | None) -> list[str]:
    if pretrained is None:
        return []
    paths = pretrained if isinstance(pretrained, (list, tuple)) else [pretrained]
    return [check_text("method.pretrained", path) for path in paths]
