"""What the found cascades come to on the test part, which is looked at once: the final table, `front_test.csv`."""

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
from torch import nn

from src.cascades.imported import PARTS
from src.cascades.pool import COST_FIELDS
from src.errors import UserError
from src.methods.cascade_measures import measured
from src.methods.final_training import load_weights
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.runtime.build import network_from
from src.whole_files import write_whole

if TYPE_CHECKING:
    from src.methods.encas import ENCAS


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
        self.hypervolumes: tuple[float, float] | None = None

    @property
    def names(self) -> list[str]:
        """The members whose test outputs are needed."""
        used = {name for candidate in self.front for name in candidate.architecture["members"]}
        used |= {self.module.members[index].name for index in (self.base, self.single)}
        return [member.name for member in self.module.members if member.name in used]

    def measured(self, path: str | os.PathLike) -> list[dict[str, Any]]:
        """The rows of the final table, from the test outputs; writes all of the front to `path`."""
        module = self.module
        pool = module.pool(PARTS[1], self.names)
        evaluator = module.evaluator(pool)
        alone = [{"members": [module.members[index].name], "thresholds": []} for index in (self.base, self.single)]
        values = measured(evaluator, [candidate.architecture for candidate in self.front] + alone)
        on_test = values[: len(self.front)]
        _write(path, self.front, on_test)
        field = COST_FIELDS[module.cost]
        reference = module.reference(module.pool(PARTS[0]))
        told = ([(c.error, _cost(c, field)) for c in self.front], [(v["error"], v[field]) for v in on_test])
        self.hypervolumes = tuple(_hypervolume(points, reference) for points in told)
        place = self.front.index(self.found)
        rows = [self._single_row("base", self.base, values[-2])]
        if self.single != self.base:
            rows.append(self._single_row("single within its MACs:", self.single, values[-1]))
        return [*rows, _row("found", self.found.params, on_test[place], self.found.error)]

    def _single_row(self, role: str, index: int, values: dict[str, float]) -> dict[str, Any]:
        member = self.module.members[index]
        return _row(f"{role} {member.name}", member.params, values, self.module.singles[index])

    def network(self) -> nn.Module | None:
        """The found cascade with the weights of its members; None where it has no model config."""
        config = self.module.candidate_config(self.found)
        if config is None:
            return None
        network = network_from(config)
        given = {given.name: given for given in self.module.given}
        for name, member in zip(config["names"], network.members, strict=True):
            try:
                load_weights(member, given[name].weights)
            except UserError as error:
                raise UserError(f"member {name}: {error}") from error
        return network.eval()

    def remark(self) -> str:
        text = f"found: {spelled(self.found.architecture)}"
        if self.hypervolumes:
            values = " and ".join(
                f"{value:.5f} on {part}" for value, part in zip(self.hypervolumes, PARTS, strict=True)
            )
            error, cost = self.module.reference(self.module.pool(PARTS[0]))
            text += f"; hypervolume {values}, up to {error:g} % and {quantities.amount(cost)}"
        if self.module.candidate_config(self.found) is None:
            text += "; there is no architecture.yaml: "
            text += (
                "its rule is not that of a Cascade"
                if "gaps" in self.found.architecture
                else "of a member only its outputs are known"
            )
        return text


def spelled(cascade: dict[str, Any]) -> str:
    """A cascade in words: its members, and up to which confidence an image goes on."""
    members = cascade["members"]
    if "gaps" in cascade:
        steps = [
            f"below a logit gap of {gap:.3g} {name}" for gap, name in zip(cascade["gaps"], members[1:], strict=True)
        ]
    else:
        steps = [f"up to {t:.3g} {name}" for t, name in zip(cascade["thresholds"], members[1:], strict=True)]
    return ", ".join([members[0], *steps])


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


def _hypervolume(points: list[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Of (error, cost), as a share of the area up to the reference point."""
    return float(moocore.hypervolume(np.array(points, dtype=np.float64), ref=np.array(reference))) / np.prod(reference)


def _write(path: str | os.PathLike, front: list[Candidate], on_test: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rules = ("thresholds", "gaps")
    writer.writerow(("id", "members", "rule", "val_error", "val_macs", "test_error", "test_macs", "params"))
    for candidate, values in zip(front, on_test, strict=True):
        cascade = candidate.architecture
        rule = {name: cascade[name] for name in rules if name in cascade}
        figures = (candidate.error, candidate.macs, values["error"], values["macs"], candidate.params)
        writer.writerow((candidate.id, json.dumps(cascade["members"]), json.dumps(rule), *figures))
    write_whole(path, text.getvalue())
