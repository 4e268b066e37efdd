"""What the found cascades come to on the test part, which is looked at once: table, `front_test.csv`, pictures."""

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from src.cascades.imported import PARTS
from src.cascades.pool import COST_FIELDS
from src.methods.cascade_measures import measured, stages_of
from src.methods.encas_members import member_network
from src.methods.weights import load_members
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.reporting.cascade_figures import (
    CascadeStages,
    FrontPoint,
    cascade_front_figure,
    exits_figure,
    front_caption,
)
from src.reporting.hypervolume import hypervolume
from src.runtime.build import network_from
from src.whole_files import write_whole

if TYPE_CHECKING:
    from src.methods.encas import ENCAS

_DRAWN = 8  # cascades whose exits are drawn
_EXITS_CAPTION = (
    "Cascades of the front on test, evenly from the lowest error to the least cost: the images that leave at each "
    "stage, and the MACs that each stage takes of all."
)


class CascadeResults:
    """Of a search that has ended.

    Args:
        module: its candidates are the front, `singles` are the errors of its members.
    """

    def __init__(self, module: "ENCAS") -> None:
        self.module, self.front = module, module.candidates
        self.found = module.chosen()
        members, errors = module.members, np.array(module.singles)
        macs = np.array([member.macs for member in members])
        self.base = int(np.lexsort((macs, errors))[0])
        within = np.flatnonzero(macs <= max(self.found.macs, macs.min()))
        self.single = int(within[np.lexsort((macs[within], errors[within]))[0]])
        self._field = COST_FIELDS[module.cost]
        self._on_test: list[dict[str, float]] = []  # of the front; empty before the test
        self._singles_on_test: dict[str, dict[str, float]] = {}
        self._stages: list[CascadeStages] = []

    @property
    def names(self) -> list[str]:
        """The members whose test outputs are needed."""
        used = {name for candidate in self.front for name in candidate.architecture["members"]}
        used |= {self.module.members[index].name for index in (self.base, self.single)}
        return [member.name for member in self.module.members if member.name in used]

    def measured(self, path: str | os.PathLike) -> list[dict[str, Any]]:
        """The rows of the final table, from the test outputs; writes all of the front to `path`."""
        pool = self.module.pool(PARTS[1], self.names)
        evaluator = self.module.evaluator(pool)
        self._on_test = measured(evaluator, [candidate.architecture for candidate in self.front])
        single = measured(evaluator, [{"members": [name], "thresholds": []} for name in pool.names])
        self._singles_on_test = dict(zip(pool.names, single, strict=True))
        self._stages = [
            CascadeStages(f"candidate {c.id}", *stages_of(evaluator, c.architecture)) for c in self._drawn()
        ]
        _write(path, self.front, self._on_test)
        rows = [self._single_row("base", self.base)]
        if self.single != self.base:
            rows.append(self._single_row("single within its MACs:", self.single))
        as_good = self._as_good()
        if as_good is not None and as_good != self.found:
            rows.append(self._front_row(f"no worse: candidate {as_good.id}", as_good))
        return [*rows, self._front_row("found", self.found)]

    def _as_good(self) -> Candidate | None:
        """The cheapest cascade of the front that is no worse on validation than the best single member."""
        good = [c for c in self.front if c.error <= self.module.singles[self.base]]
        cheapest = min(good, key=lambda c: _cost(c, self._field), default=None)
        return cheapest if cheapest and len(cheapest.architecture["members"]) > 1 else None

    def _front_row(self, name: str, candidate: Candidate) -> dict[str, Any]:
        on_test = self._on_test[self.front.index(candidate)]
        return _row(name, candidate.params, on_test, candidate.error)

    def _single_row(self, role: str, index: int) -> dict[str, Any]:
        member = self.module.members[index]
        values = self._singles_on_test[member.name]
        return _row(f"{role} {member.name}", member.params, values, self.module.singles[index])

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The state dict of each member, by its name, of all cascades of the front that have a model config."""
        cascades = [c.architecture["members"] for c in self.front if self.module.candidate_config(c) is not None]
        used = {name for members in cascades for name in members}
        networks = {g.name: member_network(g, self.module.input_shape) for g in self.module.given if g.name in used}
        return {name: dict(network.state_dict()) for name, network in networks.items()}

    def network(self, weights: dict[str, dict[str, Tensor]]) -> nn.Module | None:
        """The found cascade with the weights of its members; None where it has no model config."""
        config = self.module.candidate_config(self.found)
        if config is None:
            return None
        network = network_from(config)
        load_members(network, weights)
        return network.eval()

    def remark(self) -> str:
        """The found cascade in words, and how good the front is."""
        reference = self.module.reference(self.module.pool(PARTS[0]))
        front = np.array([(c.error, _cost(c, self._field)) for c in self.front])
        text = f"found: {spelled(self.found.architecture)}; hypervolume up to {reference[0]:g} % and "
        text += f"{_amount(reference[1], self.module.cost)}: {hypervolume(front, reference):.5f} on validation"
        if self._on_test:
            points = np.array([(value["error"], value[self._field]) for value in self._on_test])
            text += f", {hypervolume(points, reference):.5f} on test"
        if self.module.exact:
            exact = hypervolume(np.array(self.module.exact), reference)  # 0 where all errors are above the reference
            text += f"; the exact front, before it is thinned, has {exact:.5f} on validation"
        if self.module.candidate_config(self.found) is None:
            greedy = "gaps" in self.found.architecture
            why = "its members do not average" if greedy else "of a member only the outputs are known"
            text += f"; there is no architecture.yaml: {why}"
        return text

    def figures(self) -> list[tuple]:
        """(heading, caption, figure) for the report: the front above the single members, and where images leave."""
        cascades = [
            FrontPoint(spelled(c.architecture), c.error, _cost(c, self._field), *self._tested(index))
            for index, c in enumerate(self.front)
        ]
        networks = []
        for member, error in zip(self.module.members, self.module.singles, strict=True):
            on_test = self._singles_on_test.get(member.name, {})
            costs = (getattr(member, self._field), on_test.get("error"), on_test.get(self._field))
            networks.append(FrontPoint(member.name, error, *costs))
        exact = self.module.exact
        figure = cascade_front_figure(cascades, networks, exact, self.module.cost)
        figures = [("Error against cost", front_caption(cascades, networks, exact is not None), figure)]
        if self._stages:
            figures.append(("Exits", _EXITS_CAPTION, exits_figure(self._stages)))
        return figures

    def _tested(self, index: int) -> tuple[float | None, float | None]:
        value = self._on_test[index] if self._on_test else {}
        return value.get("error"), value.get(self._field)

    def _drawn(self) -> list[Candidate]:
        """Some of the cascades that have thresholds and two members at least."""
        several = [c for c in self.front if len(c.architecture["members"]) > 1 and "thresholds" in c.architecture]
        return several[:: max(1, -(-len(several) // _DRAWN))]


def spelled(cascade: dict[str, Any]) -> str:
    """A cascade in words: its members, and up to which confidence an image goes on."""
    members = cascade["members"]
    if "gaps" in cascade:
        steps = [f" [gap < {gap:.3g}] > {name}" for gap, name in zip(cascade["gaps"], members[1:], strict=True)]
    else:
        steps = [f" [<= {t:.3g}] > {name}" for t, name in zip(cascade["thresholds"], members[1:], strict=True)]
    return "".join([members[0], *steps])


def _row(name: str, params: float | None, values: dict[str, float], val_error: float) -> dict[str, Any]:
    return {
        "network": name,
        "parameters": None if params is None else round(params),
        "macs": values["macs"],
        "val_error": val_error,
        "test_error": values["error"],
    }


def _cost(candidate: Candidate, field: str) -> float:
    return candidate.extra[field] if field in candidate.extra else getattr(candidate, field)


def _amount(cost: float, name: str) -> str:
    units = {"macs": " MACs", "params": " parameters"}
    return f"{cost:.3g} ms" if name == "latency" else f"{quantities.amount(cost)}{units[name]}"


def _write(path: str | os.PathLike, front: list[Candidate], on_test: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "members", "rule", "val_error", "val_macs", "test_error", "test_macs", "params"))
    for candidate, values in zip(front, on_test, strict=True):
        cascade = candidate.architecture
        rule = {name: cascade[name] for name in ("thresholds", "gaps") if name in cascade}
        figures = (candidate.error, candidate.macs, values["error"], values["macs"], candidate.params)
        writer.writerow((candidate.id, json.dumps(cascade["members"]), json.dumps(rule), *figures))
    write_whole(path, text.getvalue())
