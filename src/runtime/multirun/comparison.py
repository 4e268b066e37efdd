"""At the end of a multirun: its jobs compared, as a table in the terminal and as `comparison.csv` in its folder."""

import csv
from pathlib import Path
from typing import Any, TextIO

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from src.errors import UserError
from src.reporting.sweep_table import SweepJob, networks_of, sweep_csv, sweep_rows, sweep_table, without_result
from src.runtime.multirun.plan import bare_key
from src.runtime.multirun.record import HYDRA_FOLDER, RESULT, job_folders, read_record
from src.whole_files import write_whole

_WIDEST = 1000  # columns


class SweepComparison(Callback):
    """Hydra's callback, `hydra.callbacks.comparison` in `conf/search.yaml` and `conf/train.yaml`.

    Of any use after a multirun only; the figures of jobs that have failed are missing in it, and those jobs named.
    """

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra's hook; Hydra makes a warning of any exception."""
        compare_jobs(Path(config.hydra.sweep.dir))


def compare_jobs(folder: Path) -> None:
    """Compares what the jobs in the multirun's folder have left; does nothing where none has left a result."""
    jobs = read_jobs(folder)
    if not any(job.networks for job in jobs):
        return
    rows = sweep_rows(jobs)
    write_whole(folder / RESULT, sweep_csv(rows))
    print()
    print_whole(sweep_table(rows))
    print()
    for line in (without_result(jobs), f"multirun folder: {folder}"):
        if line is not None:
            print(line, flush=True)


def print_whole(table: Table, file: TextIO | None = None) -> None:
    """Prints a table as wide as it is: lines that a narrow terminal folds, rather than figures cut in two."""
    console = Console(file=file)
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    Console(file=file, width=max(console.width, needed)).print(table)


def read_jobs(folder: Path) -> list[SweepJob]:
    """The jobs in the folder of a multirun by their number, whatever state they are in."""
    found = []
    for job in job_folders(folder):
        try:
            record, damaged = read_record(job), False
        except UserError:
            record, damaged = None, True
        networks, state = {}, "not finished"
        if (job / RESULT).is_file():
            networks, state = _networks(job / RESULT), f"its {RESULT} cannot be read"
        elif damaged:
            state = "its job.yaml is damaged"
        elif record is not None and record.failed:
            state = "failed"
        name = str(job.relative_to(folder))
        number = record.number if record is not None else len(found)
        found.append((number, SweepJob(name, _settings(job), networks, "" if networks else state)))
    return [job for _, job in sorted(found, key=lambda pair: pair[0])]


def _networks(path: Path) -> dict[str, dict[str, float]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return networks_of(list(csv.DictReader(file)))
    except (OSError, ValueError, csv.Error):
        return {}


def _settings(job: Path) -> dict[str, str]:
    """The task overrides of a job, key to value; empty where they cannot be read."""
    try:
        record = read_record(job)
        kept = (job / HYDRA_FOLDER / "overrides.yaml").read_text(encoding="utf-8") if record is None else None
        lines = record.overrides if record is not None else yaml.safe_load(kept)
        return {bare_key(line): line.partition("=")[2] for line in lines}
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        return {}
