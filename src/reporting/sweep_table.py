"""The jobs of a multirun side by side: a row for each setting, mean and spread over its seeds.

Pure: what the jobs left behind is read elsewhere. Errors are in percent, costs in MACs.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median, stdev

from rich import box
from rich.table import Table

from src.reporting import quantities

FIGURES = ("macs", "parameters", "val_error", "test_error")
FOUND, BASE = "found", "base"
SEED = "seed"  # the key over whose values a mean is taken
_HEADINGS = {"macs": "MACs", "val_error": "validation\nerror (%)", "test_error": "test\nerror (%)"}
_SPELLED = {"macs": quantities.amount, "parameters": quantities.amount}


@dataclass(frozen=True)
class SweepJob:
    """What a job of a multirun was told and what came of it.

    Args:
        name: of its folder.
        settings: the overrides of its config, key to value as text.
        networks: figures by role; "found" is what it is about, "base" what a search started from, others are controls.
            Empty for a job that has no result.
        state: in words, where it has no result.
    """

    name: str
    settings: Mapping[str, str]
    networks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    state: str = ""


@dataclass(frozen=True)
class SweepRow:
    """One setting: its jobs, and of each figure the numbers of the jobs that have one, in their order."""

    setting: Mapping[str, str | None]
    jobs: tuple[SweepJob, ...]

    @property
    def finished(self) -> list[SweepJob]:
        return [job for job in self.jobs if job.networks]

    def numbers(self, role: str, figure: str) -> list[float]:
        """One number a job."""
        values = [job.networks.get(role, {}).get(figure) for job in self.finished]
        return [value for value in values if quantities.is_number(value)]


def networks_of(lines: Sequence[Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """The networks of one job, by role, from the lines of its `comparison.csv`: a figure is the median of its repeats.

    A table without a `found` network is that of a training: its first network is what the job is about.
    """
    named: dict[str, list[Mapping[str, str]]] = {}
    for line in lines:
        named.setdefault(line.get("network") or "", []).append(line)
    roles = {name: BASE if name.startswith(f"{BASE} ") else name for name in named}
    if named and FOUND not in roles.values():
        roles = {next(iter(named)): FOUND}
    networks = {}
    for name, role in roles.items():
        if role not in networks:
            columns = {figure: [_number(line.get(figure)) for line in named[name]] for figure in FIGURES}
            values = {figure: [v for v in column if quantities.is_number(v)] for figure, column in columns.items()}
            networks[role] = {figure: median(column) for figure, column in values.items() if column}
    return networks


def roles_of(rows: Sequence[SweepRow]) -> list[str]:
    """The roles of which there are figures: the found network, the base, then the controls in their order."""
    seen = dict.fromkeys(role for row in rows for job in row.finished for role in job.networks)
    known = sorted(seen, key=lambda role: {FOUND: 0, BASE: 1}.get(role, 2))
    return [role for role in known if any(row.numbers(role, figure) for row in rows for figure in FIGURES)]


def varied_keys(jobs: Sequence[SweepJob]) -> list[str]:
    """The keys whose values differ between jobs, the seed aside, in the order of their first appearance."""
    keys = dict.fromkeys(key for job in jobs for key in job.settings if key != SEED)
    return [key for key in keys if len({job.settings.get(key) for job in jobs}) > 1]


def sweep_rows(jobs: Sequence[SweepJob]) -> list[SweepRow]:
    """Jobs that differ in nothing but their seed, together; settings in the order of their first job."""
    keys = varied_keys(jobs)
    groups: dict[tuple, list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault(tuple(job.settings.get(key) for key in keys), []).append(job)
    return [SweepRow(dict(zip(keys, values, strict=True)), tuple(group)) for values, group in groups.items()]


def sweep_csv(rows: Sequence[SweepRow]) -> str:
    """The rows for programs, full numbers: columns of each varied key, then mean, sample standard deviation and count
    of each figure for the found network, the base and the controls, then the folders as JSON lists."""
    roles = roles_of(rows)
    lines = []
    for row in rows:
        seeds = [job.settings[SEED] for job in row.finished if SEED in job.settings]
        line = dict(row.setting) | {"jobs": len(row.jobs), "finished": len(row.finished), "seeds": json.dumps(seeds)}
        for role in roles:
            for figure in FIGURES:
                numbers = row.numbers(role, figure)
                line[f"{role}_{figure}_mean"] = mean(numbers) if numbers else None
                line[f"{role}_{figure}_std"] = stdev(numbers) if len(numbers) > 1 else None
                line[f"{role}_{figure}_n"] = len(numbers)
        line["folders"] = json.dumps([job.name for job in row.finished])
        line["without_result"] = json.dumps([job.name for job in row.jobs if not job.networks])
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def sweep_table(rows: Sequence[SweepRow]) -> Table:
    """The rows for a terminal: of each setting a line for the base network, the controls and the found one."""
    several = any(len(row.finished) > 1 for row in rows)
    note = "mean over seeds, standard deviation in brackets" if several else None
    table = Table(caption=note, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    with_setting = any(row.setting for row in rows)
    if with_setting:
        table.add_column("setting", overflow="fold", min_width=8)
    all_roles = roles_of(rows)
    named = len(all_roles) > 1
    if named:
        table.add_column("network", no_wrap=True)
    table.add_column("jobs", justify="right", no_wrap=True)
    shown = [f for f in FIGURES if any(row.numbers(role, f) for row in rows for role in all_roles)]
    for figure in shown:
        table.add_column(_HEADINGS.get(figure, figure), justify="right", no_wrap=True)
    for row in rows:
        setting = "\n".join(_spelled(key, value) for key, value in row.setting.items())
        ordered = [*all_roles[1:], *all_roles[:1]]  # the found network comes last
        roles = [role for role in ordered if any(row.numbers(role, f) for f in FIGURES)] or [FOUND]
        for index, role in enumerate(roles):
            cells = [_cell(row.numbers(role, figure), _SPELLED.get(figure, quantities.percent)) for figure in shown]
            start = [setting if index == 0 else ""] if with_setting else []
            table.add_row(*start, *([role] if named else []), _count(row), *cells)
    return table


def without_result(jobs: Sequence[SweepJob]) -> str | None:
    """Names the jobs that have none; None where all have one."""
    names = [f"{job.name} ({job.state})" if job.state else job.name for job in jobs if not job.networks]
    return f"without a result: {', '.join(names)}" if names else None


def _spelled(key: str, value: str | None) -> str:
    """A setting in short; a number that a sweeper has drawn has digits that say nothing."""
    if value is None:
        return f"no {key}"
    number = _number(value)
    return f"{key}={value if number is None or len(value) < 8 else format(number, '.4g')}"


def _count(row: SweepRow) -> str:
    done, told = len(row.finished), len(row.jobs)
    return str(done) if done == told else f"{done} of {told}"


def _cell(numbers: Sequence[float], spell) -> str:
    """Mean, and below it the spread where there is one to speak of."""
    if not numbers:
        return quantities.NOTHING
    lines = [spell(mean(numbers))]
    if len(numbers) > 1 and spell(stdev(numbers)) != spell(0):
        lines.append(f"(± {spell(stdev(numbers))})")
    return "\n".join(lines)


def _number(text: object) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
