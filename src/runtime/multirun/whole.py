"""A whole multirun: its command kept in its folder, its end told, signals to it passed on to its jobs.

`multirun_command.yaml` in the folder of a multirun holds what is needed to start it again; `resume=<that folder>` does
so, and every job there is skipped, continued or run, by what its folder holds.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from omegaconf import DictConfig

from src.errors import UserError
from src.runtime.mistakes import one_line
from src.runtime.multirun.comparison import compare_jobs
from src.runtime.multirun.jobs import JobFailed, SweepJobs, check_same_job
from src.runtime.multirun.plan import SweepPlan, quoted
from src.runtime.multirun.process import StopSign
from src.runtime.multirun.record import JobRecord, forget_record, holds_results, job_folders, read_record
from src.whole_files import output_folder, write_whole

COMMAND = "multirun_command.yaml"
_PARTS = ("options", "task", "hydra")


def is_multirun(folder: Path) -> bool:
    """Whether `folder` is that of a multirun of ours."""
    return (Path(folder) / COMMAND).is_file()


def write_command(plan: SweepPlan, command: str) -> Path:
    """Keeps in the multirun's folder what starts it again, sweeps as they were given."""
    values = {"command": command} | {part: list(getattr(plan, part)) for part in _PARTS}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)
    return write_whole(Path(plan.folder) / COMMAND, f"# what this multirun was told; resume={plan.folder}\n{text}")


def multirun_arguments(folder: Path, command: str) -> list[str]:
    """The arguments, after the script, that start the multirun of `folder` again in that folder.

    Raises:
        UserError: the folder's `multirun_command.yaml` is not there or damaged, or of another command.
    """
    path = Path(folder).absolute() / COMMAND
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        parts = {part: values[part] for part in _PARTS}
        texts = [text for part in parts.values() for text in part]
        if set(values) != {"command", *_PARTS} or not all(isinstance(text, str) for text in texts):
            raise ValueError("other parts than were written")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged: this multirun cannot be started again by its folder") from error
    if values["command"] != command:
        name = values["command"]
        raise UserError(f"the multirun in {folder} was of {name}.py: python {name}.py resume={folder}")
    return [*parts["options"], "-m", *parts["task"], *parts["hydra"], f"hydra.sweep.dir={quoted(path.parent)}"]


def run_multirun(
    main: Callable[[Callable], Callable[[], None]],
    task: Callable[[DictConfig], None],
    plan: SweepPlan,
    traces: str | None,
    command: str,
) -> None:
    """Lets Hydra run all jobs of `plan`, then says which of them failed.

    Args:
        main: Hydra's decorator for the task function.
        task: what a single run does.
        plan: from the checked command line.
        traces: the user's own HYDRA_FULL_ERROR.
        command: "search" or "train", the config that it runs.

    Raises:
        UserError: a resumed multirun has other jobs than its folder holds.
        SystemExit: a job failed (2 if all such were the user's mistakes, else 1), or the multirun was told to stop
            (130, 143); what has to be said about it has been said.
    """
    folder = output_folder(plan.folder)
    if plan.resumed:
        _check_same_jobs(folder, plan)
    else:
        for job in job_folders(folder):  # none has results: the check of the command line has seen to that
            forget_record(job)
        write_command(plan, command)
    control = tempfile.mkdtemp(prefix="espalier-")
    stop = StopSign(control)
    sys.argv.extend(plan.added)
    try:
        with _signals_put_up(stop):
            main(SweepJobs(task, plan, stop, _start_of_command(), traces))()
    except (Exception, SystemExit) as error:
        compare_jobs(folder)
        _end(folder, plan, stop, error, traces)
        raise
    else:
        _end(folder, plan, stop, None, traces)
    finally:
        del sys.argv[-len(plan.added) :]
        shutil.rmtree(control, ignore_errors=True)


def _check_same_jobs(folder: Path, plan: SweepPlan) -> None:
    """Raises `UserError` where the known jobs of the plan are not those that the folder holds."""
    for job, record in _records(folder):
        if plan.jobs is not None:
            check_same_job(record, plan.jobs[record.number] if record.number < len(plan.jobs) else (), job)


def _end(folder: Path, plan: SweepPlan, stop: StopSign, error: BaseException | None, traces: str | None) -> None:
    """Says how the multirun ended; raises `SystemExit` unless all is well, or nothing is known of `error`."""
    number = stop.number()
    if number is not None:
        done = sum(holds_results(job) for job in job_folders(folder))
        of = f" of {plan.count}" if plan.count else ""
        how = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
        print(f"{how}: {done}{of} jobs are done; resume={folder} runs the others", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)
    failed = [(job, record) for job, record in _records(folder) if record.failed]
    if not failed:
        return
    if traces and error is not None:
        traceback.print_exception(error)
    if error is not None and not isinstance(error, JobFailed):
        print(f"error: the sweeper gave up: {one_line(error)}", file=sys.stderr)
    total = plan.count or sum(1 for _ in job_folders(folder))
    names = ", ".join(f"{record.name} ({job})" for job, record in failed)
    print(f"error: {len(failed)} of {total} jobs failed: {names}", file=sys.stderr, flush=True)
    raise SystemExit(2 if all(record.exit_code == 2 for _, record in failed) else 1)


def _records(folder: Path) -> list[tuple[Path, JobRecord]]:
    """The jobs that have been begun, by number."""
    found = [(job, read_record(job)) for job in job_folders(folder)]
    return sorted(((job, record) for job, record in found if record is not None), key=lambda pair: pair[1].number)


@contextlib.contextmanager
def _signals_put_up(stop: StopSign) -> Iterator[None]:
    """Ctrl-C and SIGTERM put up the stop sign; the third one ends this process at once."""

    def handle(number: int, frame: object) -> None:
        if stop.is_urgent():
            raise SystemExit(128 + number)
        stop.put_up(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        # a shell that starts us in the background has SIGINT ignored: that stays
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_of_command() -> list[str]:
    """The interpreter and the script, or the module, that this process was started with."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is not None:
        return [sys.executable, "-m", main.__spec__.name]
    return [sys.executable, os.path.abspath(sys.argv[0])]
