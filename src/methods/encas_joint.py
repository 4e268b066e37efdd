"""ENCAS-joint: sub-nets of several super-nets and the cascade that they form evolve together, with the weights.

Section 2.10 of ENCAS (https://arxiv.org/abs/2203.00888), from its released code: a row holds a sub-net of each of K
super-nets, its position in the cascade and a threshold. Every sub-net says once what it makes of the validation images;
cascades are made of these outputs. The next archive comes of MO-GOMEA on surrogates of errors and average costs.

Other than there an image leaves where its confidence is above a threshold, not where it equals it, as everywhere here,
and the learning rate anneals for each super-net in each iteration.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from src.errors import UserError, check_text
from src.evolution.budget import keys
from src.evolution.new_rows import distinct
from src.methods.cascade_outputs import JointCascades, SubnetOutputs
from src.methods.joint_proposals import JointProposals
from src.methods.kept_network import KeptNetwork
from src.methods.single_subnets import net_errors, single_errors, single_fronts
from src.methods.subnet_draws import distinct_rows
from src.methods.subnet_evolution import SubnetEvolution
from src.methods.subnet_results import SubnetResults
from src.methods.weights import weights_of
from src.networks.cascade_rule import half_softmax
from src.networks.elastic_mobile.several import SeveralSupernets
from src.reporting.candidates import Candidate, best_candidate, pareto_front
from src.runtime.architecture import FRONT, save_architecture
from src.runtime.checkpoints import save_whole
from src.runtime.members import WEIGHTS
from src.runtime.ranks.agreement import rank
from src.runtime.ranks.sharding import sharded_map
from src.runtime.seeds import keyed_seed
from src.spaces.joint_space import JointSpace, Member
from src.spaces.subnet_space import SubnetSpace
from src.tasks.heads import main_output
from src.whole_files import output_folder

SUBNETS = "subnets"  # the folder, in that of a run, with each super-net's front of sub-nets and their weights
_NETWORK = f"{SeveralSupernets.__module__}.{SeveralSupernets.__name__}"


class EncasJoint(SubnetEvolution):
    """K super-nets. A row is a cascade of one sub-net of each; a candidate is a cascade.

    Args:
        base: not used: the super-nets stand in `supernets`.
        supernets: model configs of `ElasticSupernet`s by name, two at least.
        folder: the run folder.
        proposals: arguments of `JointProposals`, how the next archive is found.
        task: of one class an image.
        input_shape, settings: as `SubnetEvolution` has them.

    Raises:
        UserError: an argument that is not allowed, or a task that is not one class an image.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        supernets: Mapping[str, dict[str, Any]],
        folder: str,
        task,
        proposals: Mapping[str, Any] | None = None,
        **settings,
    ) -> None:
        self.run_folder = check_text("method.module.folder", folder)
        if getattr(task, "targets", "class") != "class":
            raise UserError("method=encas_joint needs task=classification: a cascade answers with one class an image")
        if not isinstance(supernets, Mapping) or len(supernets) < 2:
            raise UserError("method.supernets needs two super-nets at least; method=nat is for one")
        names = [check_text("a name in method.supernets", name) for name in supernets]
        self.proposals = JointProposals(**(proposals or {}))
        spaces = [_space(name, config, input_shape, task.num_classes) for name, config in supernets.items()]
        self.space = JointSpace(names, spaces)
        several = {"_target_": _NETWORK, "supernets": [dict(config) for config in supernets.values()]}
        super().__init__(several, input_shape, spaces, task=task, **settings)
        self.results: SubnetResults | None = None
        self._validation: Iterable[tuple[Tensor, Tensor]] = ()
        self._todo: NDArray = self.archive[:0]  # of the archive, what is evaluated
        self._outputs: dict[tuple[int, bytes], SubnetOutputs] = {}  # of the evaluation under way
        self._labels: NDArray | None = None

    # rows

    def first_archive(self) -> NDArray:
        """All largest sub-nets, all smallest ones, and random ones, in random order with random thresholds."""
        parts = []
        for number, space in enumerate(self.spaces):
            seed = keyed_seed(self.seed, "first archive", number)
            own = distinct_rows(space, self.doe, space.reachable()[1], seed)
            parts.append(own[np.arange(self.doe) % len(own)])
        rows = distinct(self.space.arranged(parts, np.random.default_rng(keyed_seed(self.seed, "first archive"))))
        if len(rows) < self.doe:
            rank_zero_warn(f"the first archive has {len(rows)} different rows, not method.doe={self.doe}")
        return rows

    def subnet_rows(self, rows: NDArray) -> list[NDArray]:
        return self.space.subnets(rows)

    def supernet(self, number: int) -> nn.Module:
        return self.network.supernets[number]

    def call_of(self, number: int, row: NDArray) -> tuple:
        return (self.spaces[number].genotype(row), number)

    def known_rows(self, candidates: Sequence[Candidate]) -> NDArray:
        return self.space.rows([candidate.architecture for candidate in candidates])

    def archived_candidates(self) -> list[Candidate]:
        """Without the sub-nets that stand alone, which `finish` adds."""
        return [c for c in self.current_candidates() if self._is_row(c)]

    def _is_row(self, candidate: Candidate) -> bool:
        return len(candidate.architecture["members"]) == len(self.spaces)

    # archives, for the callback

    def begin_evaluation(self, validation: Iterable[tuple[Tensor, Tensor]]) -> tuple[list, list[float]]:
        """Every sub-net of the archive, each once."""
        self.outdate()
        self._validation, self._outputs = validation, {}
        known = set(keys(self.known_rows(self.archived_candidates())))
        self._todo = self.archive[[key not in known for key in keys(self.archive)]]
        parts = enumerate(self.subnet_rows(self._todo))
        items = [Member(number, tuple(row)) for number, part in parts for row in np.unique(part, axis=0).tolist()]
        return items, [self.space.member_costs(item)[0] for item in items]

    def evaluated(self, item: Member) -> SubnetOutputs:
        """What a sub-net says of the validation images, in half precision as in cascades, and its error by that."""
        began = time.monotonic()
        outputs, _ = self.outputs_of(self.calibrated(item.supernet, np.array(item.row)), self._validation)
        softmax = torch.cat([half_softmax(main_output(part).float()) for part in outputs]).cpu().numpy()
        # the very number that a cascade gets in which all images stay with this sub-net
        error = 100 * int((softmax.argmax(1) != self.labels()).sum()) / len(softmax)
        return SubnetOutputs(error, softmax, *self.space.member_costs(item), time.monotonic() - began)

    def labels(self) -> NDArray:
        """The true classes (N,) of the validation images."""
        if self._labels is None:
            self._labels = torch.cat([targets for _, targets in self._validation]).cpu().numpy()
        return self._labels

    def take(self, trainer: pl.Trainer, item: Member, result: SubnetOutputs) -> None:
        self._outputs[item.supernet, keys(np.array([item.row]))[0]] = result

    def end_evaluation(self, trainer: pl.Trainer) -> None:
        """Records the cascades; all ranks have all outputs."""
        if not len(self._todo):
            return
        cascades = JointCascades(self.space.layout, self._outputs, self.labels())
        for row, value in zip(self._todo, cascades.measured(self._todo), strict=True):
            errors = {f"error_{name}": e for name, e in zip(self.space.names, value.errors, strict=True)}
            candidate = Candidate(
                id=len(self.candidates),
                parent=None,
                step=trainer.current_epoch,
                error=value.error,
                macs=round(value.macs),
                params=value.params,
                seconds=value.seconds,
                architecture=self.space.genotype(row),
                extra={"iteration": self.today(), **errors},
            )
            self.record(trainer, candidate)
        self._outputs = {}

    def proposed(self, check: Callable[[], None]) -> tuple[NDArray, list[float]]:
        current = self.archived_candidates()
        rows, alone = self.known_rows(current), np.array([net_errors(self.space, c) for c in current])
        values = np.array([(c.error, c.macs) for c in current], dtype=np.float64)
        seed = keyed_seed(self.seed, "proposals", self.iteration)
        return self.proposals.next_archive(self.space, rows, alone, values, self.archive_size, seed, check)

    def finish(self, trainer: pl.Trainer) -> None:
        """Records each super-net's front of sub-nets as cascades of one, in the place of cascades that go no further.

        Rows cannot say that a sub-net answers alone; with a threshold of 0.1 it all but does.
        """
        errors, singles = self._singles()
        alone = {}
        for member in singles.values():
            macs, params = self.space.member_costs(member)
            alone[errors[member], macs] = (self.space.single(member), params)
        self.candidates = [replace(c, outdated=c.outdated or (c.error, c.macs) in alone) for c in self.candidates]
        for (error, macs), (genotype, params) in alone.items():
            extra = {"iteration": self.today()}
            step = trainer.current_epoch
            candidate = Candidate(len(self.candidates), None, step, error, macs, params, 0.0, genotype, extra)
            self.record(trainer, candidate)

    def keep(self, folder: str) -> None:
        """Weights of the members of the front's cascades; each super-net's front of sub-nets, for a pool."""
        front, singles = pareto_front(self.candidates), self._singles()[1]
        members = {name: own for c in front for name, own in self._members(c).items()}
        items = sorted({**members, **singles}.items())
        costs = [float(self.space.member_costs(member)[0]) for _, member in items]
        found = sharded_map(lambda item: weights_of(self.calibrated(item[1][0], np.array(item[1][1]))), items, costs)
        if rank() != 0:
            return
        states = {name: state for (name, _), state in zip(items, found, strict=True)}
        target = Path(output_folder(Path(folder) / SUBNETS))
        for name, member in singles.items():
            save_whole(states[name], target / f"{name}.pt")
            save_architecture(target / f"{name}.yaml", self.space.member_config(member))
        save_whole({name: states[name] for name in members}, Path(output_folder(Path(folder) / FRONT)) / WEIGHTS)

    def _members(self, candidate: Candidate) -> dict[str, Member]:
        """The members of a cascade by name, in their order."""
        return self.space.members_of(candidate.architecture)

    def _singles(self) -> tuple[dict[Member, float], dict[str, Member]]:
        """Errors of all sub-nets of today, each alone, and each super-net's front of them."""
        errors = single_errors(self.space, self.current_candidates())
        return errors, single_fronts(self.space, errors)

    # the result

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        """The model config of a cascade."""
        return self.space.config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        first, *others = self._members(candidate)
        told = zip(candidate.architecture["thresholds"], others, strict=True)
        return {"cascade": first + "".join(f" [<= {threshold:g}] > {name}" for threshold, name in told)}

    def chosen(self) -> Candidate | None:
        """The cascade, or sub-net, of lowest validation error."""
        return best_candidate(self.candidates)

    def architecture(self) -> dict[str, Any] | None:
        chosen = self.chosen()
        return self.candidate_config(chosen) if chosen else None

    def kept_networks(self) -> list[KeptNetwork]:
        """The front, and the best single sub-net first."""
        errors, singles = self._singles()
        best = min(singles, key=lambda name: errors[singles[name]])
        folder = Path(self.run_folder)
        base = KeptNetwork(best, self.space.member_config(singles[best]), folder / SUBNETS / f"{best}.pt")
        weights = folder / FRONT / WEIGHTS
        return [base, *(KeptNetwork.of(c, self.candidate_config(c), weights) for c in pareto_front(self.candidates))]

    def compare(self, recipe, name: str, data, loggers, progress) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """Tests the front with its weights; the rows of the final table and the found cascade."""
        self.results = SubnetResults(self, recipe, data)
        return self.results.rows("best sub-net", loggers, progress)

    def check_monte_carlo(self, samples: int) -> None:
        if samples:
            raise UserError(f"export.monte_carlo={samples} is not for cascades: give export.monte_carlo=0")

    def remark(self) -> str:
        cascades = [c for c in self.candidates if self._is_row(c)]
        text = f"{len(cascades):,} evaluations of cascades in {self.archives_told()}"
        return f"{text}; {self.results.told()}" if self.results else text


def _space(name: str, config: Any, input_shape: tuple[int, int, int], classes: int) -> SubnetSpace:
    if not isinstance(config, Mapping):
        raise UserError(f"method.supernets.{name}={config!r} is not allowed; it must be a model config")
    try:
        space = SubnetSpace(dict(config), tuple(input_shape))
    except UserError as error:
        raise UserError(f"method.supernets.{name}: {error}") from error
    if space.num_classes != classes:
        raise UserError(f"method.supernets.{name}.num_classes={space.num_classes}: the data has {classes} classes")
    return space
