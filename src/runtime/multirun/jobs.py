"""The task function of a multirun: it runs each job as a process of its own, an ordinary single run.

So nothing of a job reaches the next one, neither process group nor environment nor GPU memory; the ranks of a job get
its command line; and a job that fails, or crashes, takes no other one with it.
"""

import csv
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runtime.mistakes import sentence
from src.runtime.multirun.objective import Objective, objective
from src.runtime.multirun.plan import RESUMED, SweepPlan, own_process_needed, quoted
from src.runtime.multirun.process import StopSign, run_process
from src.runtime.multirun.record import HYDRA_FOLDER, RESULT, JobRecord, holds_results, read_record, write_record

_TRACES = "HYDRA_FULL_ERROR"


class JobFailed(Exception):
    """A job has failed, and has said why itself: for a sweeper that counts failures."""


def job_command(
    start: Sequence[str], plan: SweepPlan, record: JobRecord, folder: Path, begun: bool = False
) -> list[str]:
    """The command line of one job: a single run in its own folder.

    Args:
        start: the interpreter and the script.
        plan: of the multirun. Its own overrides of Hydra's config go along, sweeper and launcher too: a config of the
            user may hold options that only those have. In a single run nothing of them is used.
        record: of this job, which a config may ask for its number.
        folder: of this job.
        begun: whether an earlier process has begun it; that run goes on then, with what it was told.
    """
    own = ["hydra.mode=RUN", f"hydra.job.num={record.number}", f"hydra.job.id='{record.number}'"]
    if begun:
        return [*start, *plan.options, f"resume={quoted(folder)}", *own]
    return [*start, *plan.options, *record.overrides, *plan.hydra, *own, f"hydra.run.dir={quoted(folder)}"]


def check_same_job(record: JobRecord, overrides: Sequence[str], folder: Path) -> None:
    """Raises `UserError` where a folder holds another job than the one that is to go on there."""
    if list(record.overrides) != list(overrides):
        raise UserError(
            f"{folder} holds {record.name} with '{' '.join(record.overrides)}', and the multirun has"
            f" '{' '.join(overrides)}' there now: it cannot go on"
        )


class SweepJobs:
    """Called by Hydra's launcher with the config of each job, in this process or in a worker's.

    Args:
        task: what a single run does; called itself only where a job needs no process of its own.
        plan: of the multirun.
        stop: tells the jobs to end.
        start: the interpreter and the script.
        traces: the user's own HYDRA_FULL_ERROR.
    """

    def __init__(self, task: Callable, plan: SweepPlan, stop: StopSign, start: Sequence[str], traces: str | None):
        functools.update_wrapper(self, task)  # Hydra looks through the wrapper for the file that jobs are named after
        self.task, self.plan, self.stop, self.start, self.traces = task, plan, stop, list(start), traces
        self.process = os.getpid()

    def __call__(self, config: DictConfig) -> Objective | None:
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        record = JobRecord(hydra.job.num, tuple(hydra.overrides.task))
        if not own_process_needed(os.environ):
            return self._in_this_process(config, folder, record)
        if os.getpid() != self.process:
            self._leave_signals_to_parent()
        if self.stop.number() is not None:
            return self._not_run()
        name = f"{record.name} of {self.plan.count}" if self.plan.count else record.name
        kept = read_record(folder) if self.plan.resumed else None
        if kept is not None:
            check_same_job(kept, record.overrides, folder)
        if kept is not None and holds_results(folder):
            _say(f"{name}: done before")
            return _worth(folder)
        _say(f"{name}: {self.plan.shown(record.overrides)}")
        begun = kept is not None and (folder / HYDRA_FOLDER / "overrides.yaml").is_file()
        code = self._run(folder, record, begun)
        if code == 0:
            return _worth(folder)
        return self._not_run() if self.stop.number() is not None else self._failed(record)

    def _run(self, folder: Path, record: JobRecord, begun: bool) -> int:
        """Runs the job's process to its end; returns its exit code."""
        write_record(folder, record)
        code = run_process(
            job_command(self.start, self.plan, record, folder, begun),
            self._environment(),
            HydraConfig.get().runtime.cwd,
            self.stop,
            prefix=f"[{record.name}] " if self.plan.parallel else None,
            with_parent=self.plan.local and os.getpid() != self.process,
        )
        write_record(folder, JobRecord(record.number, record.overrides, code))
        if code < 0 and self.stop.number() is None:
            _say(f"error: {record.name} was killed by {signal.Signals(-code).name}", sys.stderr)
        return code

    def _environment(self) -> dict[str, str]:
        """Ours, as the user has it, with a group for the dashboards of the jobs."""
        environment = {name: value for name, value in os.environ.items() if name not in (_TRACES, RESUMED)}
        if self.traces is not None:
            environment[_TRACES] = self.traces
        environment.setdefault("WANDB_RUN_GROUP", Path(self.plan.folder).name)
        return environment

    def _not_run(self) -> None:
        """The multirun ends. A worker has to return; here, nothing else has to be waited for."""
        if os.getpid() == self.process:
            raise SystemExit(128 + self.stop.number())

    def _failed(self, record: JobRecord) -> None:
        """A failed job has no worth; a sweeper that counts failures takes an exception for one, any other would end."""
        if "max_failure_rate" in HydraConfig.get().sweeper:
            raise JobFailed(f"{record.name} has failed")

    def _in_this_process(self, config: DictConfig, folder: Path, record: JobRecord) -> Objective | None:
        """One of the ranks that a batch system has started for this job; its exceptions go to the launcher."""
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        os.environ.pop(_TRACES, None)
        os.environ.update(self._environment())
        code = 1
        try:
            self.task(config)
            code = 0
        except Exception as error:
            told = sentence(error)
            code = 1 if told is None else 2
            if told is None or self.traces:
                traceback.print_exception(error)
            if told is not None:
                _say(f"error: {record.name}: {told}", sys.stderr)
            raise JobFailed(f"{record.name} has failed") from None
        finally:
            os.environ[_TRACES] = "1"  # Hydra hands exceptions on unchanged
            if first:
                write_record(folder, JobRecord(record.number, record.overrides, code))
        return _worth(folder) if first else None

    def _leave_signals_to_parent(self) -> None:
        """Ctrl-C reaches every process of the terminal; the multirun's own decides what ends, and how."""
        if self.plan.local:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _nothing)  # not SIG_IGN, which the job would inherit


def _say(line: str, stream: TextIO | None = None) -> None:
    """Prints a line in one piece: other workers write to the same terminal."""
    print(f"{line}\n", end="", file=stream, flush=True)


def _nothing(number: int, frame: object) -> None:
    """Takes a signal and does nothing."""


def _worth(folder: Path) -> Objective | None:
    """What the finished job in `folder` is worth to a sweeper that optimises; None for one that does not ask."""
    direction = HydraConfig.get().sweeper.get("direction")
    if direction is None:
        return None
    with_macs = OmegaConf.is_list(direction) and len(direction) == 2
    return objective(_lines(folder / RESULT), _lines(folder / "candidates.csv"), with_macs)


def _lines(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
