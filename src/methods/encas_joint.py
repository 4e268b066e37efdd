"""ENCAS-joint: sub-nets of several super-nets and the cascade that they form evolve together, with the weights.

Section 2.10 of ENCAS (https://arxiv.org/abs/2203.00888), from its released code: a row holds a sub-net of each of K
super-nets, its position in the cascade and a threshold. Every sub-net says once what it makes of the validation images;
cascades are made of these outputs. The next archive comes of MO-GOMEA on surrogates of errors and average costs.

Other than there an image leaves where its confidence is above a threshold, not where it equals it, as everywhere here,
and the learning rate anneals for each super-net in each iteration.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from src.errors import UserError, check_text
from src.evolution.budget import keys
from src.evolution.joint_rows import JointRows
from src.evolution.new_rows import distinct
from src.methods.cascade_outputs import JointCascades, SubnetOutputs
from src.methods.encas_members import CASCADE
from src.methods.joint_proposals import JointProposals
from src.methods.subnet_draws import distinct_rows
from src.methods.subnet_evolution import SubnetEvolution
from src.methods.subnet_results import KeptNetwork, SubnetResults
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
        proposals: Mapping[str, Any] | None = None,
        **settings,
    ) -> None:
        self.run_folder = check_text("method.module.folder", folder)
        if not isinstance(supernets, Mapping) or len(supernets) < 2:
            raise UserError("method.supernets needs two super-nets at least; method=nat is for one")
        self.names = [check_text("a name in method.supernets", name) for name in supernets]
        self.proposals = JointProposals(**(proposals or {}))
        spaces = [_space(name, config, input_shape) for name, config in supernets.items()]
        self.layout = JointRows([space.alphabet for space in spaces])
        several = {"_target_": _NETWORK, "supernets": [dict(config) for config in supernets.values()]}
        super().__init__(several, input_shape, spaces, **settings)
        if getattr(self.task, "targets", "class") != "class":
            raise UserError("method=encas_joint needs task=classification: a cascade answers with one class an image")
        self.results: SubnetResults | None = None
        self._validation: Iterable[tuple[Tensor, Tensor]] = ()
        self._outputs: dict[tuple[int, bytes], SubnetOutputs] = {}  # of the evaluation under way
        self._labels: NDArray | None = None

    # rows

    def canonical(self, rows: NDArray) -> NDArray:
        return self.layout.canonical(rows, [space.canonical for space in self.spaces])

    def first_archive(self) -> NDArray:
        """All largest sub-nets, all smallest ones, and random ones, in random order with random thresholds."""
        generator = np.random.default_rng(keyed_seed(self.seed, "first archive"))
        parts = []
        for number, space in enumerate(self.spaces):
            seed = keyed_seed(self.seed, "first archive", number)
            own = distinct_rows(space, self.doe, space.reachable()[1], seed)
            parts.append(own[np.arange(self.doe) % len(own)])
        shape = (self.doe, self.layout.nets)
        rows = self.layout.joined(parts, generator.integers(shape[1], size=shape), generator.integers(10, size=shape))
        return distinct(self.canonical(rows))

    def subnet_rows(self, rows: NDArray) -> list[NDArray]:
        return self.layout.split(rows)[0]

    def macs_per_net(self, rows: NDArray) -> NDArray:
        """MACs int64 (n, K) of the sub-nets of rows (n, d)."""
        parts = self.subnet_rows(rows)
        return np.stack([space.macs_of(part) for space, part in zip(self.spaces, parts, strict=True)], axis=1)

    def supernet(self, number: int) -> nn.Module:
        return self.network.supernets[number]

    def call_of(self, number: int, row: NDArray) -> tuple:
        return (self.spaces[number].genotype(row), number)

    def known_rows(self, candidates: Sequence[Candidate]) -> NDArray:
        return np.array([self.row(candidate.architecture) for candidate in candidates], dtype=np.int64).reshape(
            len(candidates), len(self.layout.alphabet)
        )

    def architecture_of(self, row: NDArray) -> dict[str, Any]:
        """A row (d,) as plain values: the members in their order, and a threshold between each two."""
        parts, positions, thresholds = self.layout.split(row[None])
        order = self.layout.order(positions)[0].tolist()
        members = [
            {"supernet": self.names[number], "subnet": self.spaces[number].genotype(parts[number][0])}
            for number in order
        ]
        return {"members": members, "thresholds": [(int(thresholds[0, number]) + 1) / 10 for number in order[:-1]]}

    def row(self, architecture: Mapping[str, Any]) -> NDArray:
        """The canonical row (d,) of `architecture_of`."""
        count = self.layout.nets
        parts, positions, thresholds = [None] * count, np.zeros((1, count), int), np.full((1, count), 9)
        for place, member in enumerate(architecture["members"]):
            number = self.names.index(member["supernet"])
            parts[number] = self.spaces[number].row(member["subnet"])[None]
            positions[0, number] = count - 1 - place
            if place < count - 1:
                thresholds[0, number] = round(10 * architecture["thresholds"][place]) - 1
        return self.canonical(self.layout.joined(parts, positions, thresholds))[0]

    # archives, for the callback

    def begin_evaluation(self, validation: Iterable[tuple[Tensor, Tensor]]) -> tuple[list, list[float]]:
        """Every sub-net of the archive, each once."""
        self.outdate()
        self._validation, self._outputs = validation, {}
        known = set(keys(self.known_rows(self.current_candidates())))
        self._todo = self.archive[[key not in known for key in keys(self.archive)]]
        items, costs = [], []
        for number, part in enumerate(self.subnet_rows(self._todo)):
            rows = np.unique(part, axis=0)
            items += [(number, tuple(row)) for row in rows.tolist()]
            costs += self.spaces[number].macs_of(rows).tolist() if len(rows) else []
        return items, costs

    def evaluated(self, item: tuple[int, tuple[int, ...]]) -> SubnetOutputs:
        began = time.monotonic()
        number, row = item[0], np.array(item[1])
        outputs, error = self.outputs_of(self.calibrated(number, row), self._validation)
        softmax = torch.cat([half_softmax(main_output(part).float()) for part in outputs]).cpu().numpy()
        space = self.spaces[number]
        macs, params = int(space.macs_of(row[None])[0]), int(space.params_of(row[None])[0])
        return SubnetOutputs(error, softmax, macs, params, time.monotonic() - began)

    def take(self, trainer: pl.Trainer, item: tuple[int, tuple[int, ...]], result: SubnetOutputs) -> None:
        self._outputs[item[0], keys(np.array([item[1]]))[0]] = result

    def end_evaluation(self, trainer: pl.Trainer) -> None:
        """Records the cascades; all ranks have all outputs."""
        if not len(self._todo):
            return
        if self._labels is None:
            self._labels = torch.cat([targets for _, targets in self._validation]).cpu().numpy()
        cascades = JointCascades(self.layout, self._outputs, self._labels)
        for row, value in zip(self._todo, cascades.measured(self._todo), strict=True):
            errors = {f"error_{name}": e for name, e in zip(self.names, value.errors, strict=True)}
            candidate = Candidate(
                id=len(self.candidates),
                parent=None,
                step=trainer.current_epoch,
                error=value.error,
                macs=round(value.macs),
                params=value.params,
                seconds=value.seconds,
                architecture=self.architecture_of(row),
                extra={"iteration": self.today(), **errors},
            )
            self.record(trainer, candidate)
        self._outputs = {}

    def proposed(self, check: Callable[[], None]) -> tuple[NDArray, list[float]]:
        current = self.current_candidates()
        rows = self.known_rows(current)
        net_errors = np.array([[c.extra[f"error_{name}"] for name in self.names] for c in current])
        values = np.array([(c.error, c.macs) for c in current], dtype=np.float64)
        seed = keyed_seed(self.seed, "proposals", self.iteration)
        return self.proposals.next_archive(self, rows, net_errors, values, self.archive_size, seed, check)

    def keep(self, folder: str) -> None:
        """Weights of the members of the front's cascades; each super-net's front of sub-nets, for a pool."""
        front = pareto_front(self.candidates)
        members = {name: where for c in front for name, where in self._members(self.row(c.architecture)).items()}
        singles = self._single_front()
        items = sorted({**members, **singles}.items())
        costs = [float(self.spaces[number].macs_of(np.array([row]))[0]) for _, (number, row) in items]
        found = sharded_map(lambda item: weights_of(self.calibrated(item[1][0], np.array(item[1][1]))), items, costs)
        if rank() != 0:
            return
        states = {name: state for (name, _), state in zip(items, found, strict=True)}
        target = Path(output_folder(Path(folder) / SUBNETS))
        for name, (number, row) in singles.items():
            space = self.spaces[number]
            save_whole(states[name], target / f"{name}.pt")
            save_architecture(target / f"{name}.yaml", space.config(space.genotype(np.array(row))))
        save_whole({name: states[name] for name in members}, Path(output_folder(Path(folder) / FRONT)) / WEIGHTS)

    def _members(self, row: NDArray) -> dict[str, tuple[int, tuple[int, ...]]]:
        """The members of a row (d,) in their order: name, and number and row of the sub-net."""
        parts, positions, _ = self.layout.split(row[None])
        order = self.layout.order(positions)[0].tolist()
        subnets = [(number, tuple(parts[number][0].tolist())) for number in order]
        return {self._name(*subnet): subnet for subnet in subnets}

    def _name(self, number: int, row: tuple[int, ...]) -> str:
        """A short name of a sub-net, the same in every run."""
        return f"{self.names[number]}-{hashlib.blake2b(repr(row).encode(), digest_size=3).hexdigest()}"

    def _single_front(self) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Of each super-net the sub-nets of today that no other one of it beats in error and MACs, from few MACs on."""
        current, found = self.current_candidates(), {}
        rows = self.known_rows(current)
        for number, part in enumerate(self.subnet_rows(rows)):
            errors = [candidate.extra[f"error_{self.names[number]}"] for candidate in current]
            values = dict(zip(map(tuple, part.tolist()), errors, strict=True))
            own = np.array(list(values))
            best = np.inf
            for place in np.lexsort((list(values.values()), self.spaces[number].macs_of(own))):
                row, error = tuple(own[place].tolist()), list(values.values())[place]
                if error < best:
                    best = error
                    found[self._name(number, row)] = (number, row)
        return found

    # the result

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        """The model config of a cascade."""
        members = self._members(self.row(candidate.architecture))
        configs, macs = [], []
        for number, row in members.values():
            space, own = self.spaces[number], np.array(row)
            configs.append(space.config(space.genotype(own)))
            macs.append(int(space.macs_of(own[None])[0]))
        thresholds = list(candidate.architecture["thresholds"])
        named = {"names": list(members), "macs": macs}
        return {"_target_": CASCADE, "members": configs, "thresholds": thresholds, **named}

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        names = list(self._members(self.row(candidate.architecture)))
        told = [
            names[0],
            *(f"{t:g} {name}" for t, name in zip(candidate.architecture["thresholds"], names[1:], strict=True)),
        ]
        return {"cascade": " > ".join(told)}

    def chosen(self) -> Candidate | None:
        """The cascade of lowest validation error."""
        return best_candidate(self.candidates)

    def architecture(self) -> dict[str, Any] | None:
        chosen = self.chosen()
        return self.candidate_config(chosen) if chosen else None

    def kept_networks(self) -> list[KeptNetwork]:
        """The front, and the best single sub-net first."""
        weights = Path(self.run_folder) / FRONT / WEIGHTS
        errors = {}
        for candidate in self.current_candidates():
            for name, (number, row) in self._members(self.row(candidate.architecture)).items():
                errors[name] = (candidate.extra[f"error_{self.names[number]}"], number, row)
        single = min(self._single_front(), key=lambda name: errors[name][0])
        _, number, row = errors[single]
        config = self.spaces[number].config(self.spaces[number].genotype(np.array(row)))
        base = KeptNetwork(single, config, Path(self.run_folder) / SUBNETS / f"{single}.pt")
        return [base, *(KeptNetwork.of(c, self.candidate_config(c), weights) for c in pareto_front(self.candidates))]

    def compare(self, recipe, name: str, data, loggers, progress) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """Tests the front with its weights; the rows of the final table and the found cascade."""
        self.results = SubnetResults(self, recipe, data)
        return self.results.rows("best sub-net", loggers, progress)

    def check_monte_carlo(self, samples: int) -> None:
        if samples:
            raise UserError(f"export.monte_carlo={samples} is not for cascades: give export.monte_carlo=0")

    def remark(self) -> str:
        count = len(self.candidates)
        text = f"{count:,} evaluations of cascades in {self.iteration} iterations"
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
