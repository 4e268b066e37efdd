"""`.hydra/job.yaml` in the folder of each job of a multirun: its number, what it was told, how it ended.

Hydra's own `overrides.yaml` beside it is written anew by every process that is started in the folder; this one says
what the results there belong to.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from src.errors import UserError
from src.whole_files import write_whole

HYDRA_FOLDER = ".hydra"
RESULT = "comparison.csv"  # the last thing that a job decides: with it, the job is complete
_STOPPED = (130, 143)


@dataclass(frozen=True)
class JobRecord:
    """A job of a multirun.

    Args:
        number: of the job, from 0.
        overrides: the task overrides that it was started with.
        exit_code: of its process, negative where a signal killed it; None while it runs, or where it was lost.
    """

    number: int
    overrides: tuple[str, ...]
    exit_code: int | None = None

    @property
    def name(self) -> str:
        """As people count, from 1."""
        return f"job {self.number + 1}"

    @property
    def failed(self) -> bool:
        """Whether it ended by itself with an error; a job that was told to stop has not failed."""
        return self.exit_code not in (0, None, *_STOPPED)


def write_record(folder: Path, record: JobRecord) -> None:
    """Keeps `record` in the job folder."""
    (folder / HYDRA_FOLDER).mkdir(parents=True, exist_ok=True)
    values = asdict(record) | {"overrides": list(record.overrides)}
    write_whole(_path(folder), yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000))


def read_record(folder: Path) -> JobRecord | None:
    """The record in a job folder, None where there is none; raises `UserError` where it is damaged."""
    path = _path(folder)
    if not path.is_file():
        return None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        number, overrides, exit_code = values["number"], values["overrides"], values["exit_code"]
        whole = isinstance(number, int) and isinstance(exit_code, int | None)
        if not whole or not all(isinstance(text, str) for text in overrides):
            raise ValueError("a value of another type")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: remove the folder {folder} to run this job anew") from error
    return JobRecord(number, tuple(overrides), exit_code)


def forget_record(folder: Path) -> None:
    """Removes the record of a job that is to be run anew."""
    _path(folder).unlink(missing_ok=True)


def job_folders(folder: Path) -> Iterator[Path]:
    """The folders of jobs below `folder`, in the order of their names, numbers as numbers; none is inside another."""
    for place, inner, _ in os.walk(folder):
        if HYDRA_FOLDER in inner and Path(place) != folder:
            inner.clear()
            yield Path(place)
        inner.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def holds_results(folder: Path) -> bool:
    """Whether the job in this folder is complete."""
    return (folder / RESULT).is_file()


def _path(folder: Path) -> Path:
    return folder / HYDRA_FOLDER / "job.yaml"
