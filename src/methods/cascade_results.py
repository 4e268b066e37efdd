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
from src.methods.cascade_facts import facts_of, spelled
from src.methods.cascade_measures import measured, stages_of
from src.methods.encas_members import member_network
from src.methods.weights import load_members
from src.reporting.candidates import Candidate
from src.reporting.cascade_figures import (
    CascadeStages,
    FrontPoint,
    cascade_front_figure,
    exits_figure,
    front_caption,
)
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

    The rows of the table have the same names in every run, so that a multirun can put them together.
    """

    SINGLE = "single within its MACs"  # the best member that costs no more than the found cascade

    def __init__(self, module: "ENCAS") -> None:
        self.module, self.front = module, module.candidates
        self.found = module.chosen()
        members, errors = module.members, np.array(module.singles)
        macs = np.array([member.macs for member in members])
        self.base = int(np.lexsort((macs, errors))[0])
        within = np.flatnonzero(macs <= max(self.found.macs if self.found else 0, macs.min()))
        self.single = int(within[np.lexsort((macs[within], errors[within]))[0]])
        self._field = COST_FIELDS[module.cost]
        self.rows: dict[str, Candidate] = {}  # cascades of the table, by the names of their rows
        self.on_test: list[dict[str, float]] = []  # of the front; empty before the test
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
        self.on_test = measured(evaluator, [candidate.architecture for candidate in self.front])
        single = measured(evaluator, [{"members": [name], "thresholds": []} for name in pool.names])
        self._singles_on_test = dict(zip(pool.names, single, strict=True))
        self._stages = [
            CascadeStages(f"candidate {c.id}", *stages_of(evaluator, c.architecture)) for c in self._drawn()
        ]
        _write(path, self.front, self.on_test)
        rows = [self._single_row(f"base {self.module.members[self.base].name}", self.base)]
        if self.single != self.base:
            rows.append(self._single_row(self.SINGLE, self.single))
        as_good = self._as_good()
        self.rows = {"no worse than base": as_good} if as_good is not None and as_good != self.found else {}
        self.rows["found"] = self.found
        return [*rows, *(self._front_row(name, candidate) for name, candidate in self.rows.items())]

    def _as_good(self) -> Candidate | None:
        """The cheapest cascade of the front that is no worse on validation than the best single member."""
        good = [c for c in self.front if c.error <= self.module.singles[self.base]]
        cheapest = min(good, key=lambda c: _cost(c, self._field), default=None)
        return cheapest if cheapest and len(cheapest.architecture["members"]) > 1 else None

    def _front_row(self, name: str, candidate: Candidate) -> dict[str, Any]:
        on_test = self.on_test[self.front.index(candidate)]
        return _row(name, candidate.params, on_test, candidate.error)

    def _single_row(self, name: str, index: int) -> dict[str, Any]:
        member = self.module.members[index]
        values = self._singles_on_test[member.name]
        return _row(name, member.params, values, self.module.singles[index])

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

    def facts(self) -> dict[str, str]:
        return facts_of(self)

    def points(self) -> list[tuple[float, float]]:
        """Error and cost of the front on validation."""
        return [(c.error, _cost(c, self._field)) for c in self.front]

    def points_on_test(self) -> list[tuple[float, float]]:
        return [(value["error"], value[self._field]) for value in self.on_test]

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
        figures = [
            ("Error against cost", front_caption(cascades, networks, exact is not None, self.module.kind), figure)
        ]
        if self._stages:
            figures.append(("Exits", _EXITS_CAPTION, exits_figure(self._stages)))
        return figures

    def _tested(self, index: int) -> tuple[float | None, float | None]:
        value = self.on_test[index] if self.on_test else {}
        return value.get("error"), value.get(self._field)

    def _drawn(self) -> list[Candidate]:
        """Some of the cascades that have thresholds and two members at least."""
        several = [c for c in self.front if len(c.architecture["members"]) > 1 and "thresholds" in c.architecture]
        return several[:: max(1, -(-len(several) // _DRAWN))]


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
