"""The way into every command: `if __name__ == "__main__": launch(search, "search")`.

Hydra composes the config, makes the run folder and calls the task. A mistake of the user ends as one sentence on stderr
that starts with `error: `, and with exit code 2; a defect of ours keeps its trace and ends with 1; Ctrl-C with 130.
Mistakes in the command line are found before Hydra makes a run folder. HYDRA_FULL_ERROR=1 shows every trace.
"""

import functools
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import hydra
from omegaconf import DictConfig

from src.errors import UserError
from src.runtime.command_line import check_command_line
from src.runtime.mistakes import is_interrupt, os_sentence, sentence
from src.runtime.multirun.plan import quoted
from src.runtime.ranks.launched import folder_of_rank_0, launched_rank
from src.runtime.ranks.watch import PARENT
from src.runtime.resume import resumed_arguments

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "conf"
_TRACES = "HYDRA_FULL_ERROR"


class _Terminated(BaseException):
    """SIGTERM has come."""


class _TaskFailed(BaseException):
    """Carries a task's exception past Hydra, which would print a line of its own in front of our sentence."""


def launch(
    task: Callable[[DictConfig], None],
    config_name: str,
    config_path: str | os.PathLike = CONFIG_FOLDER,
    filled_later: Iterable[str] = (),
) -> None:
    """Runs `task` with the config that the command line asks for, then ends the process.

    Args:
        task: takes the resolved-on-access config, without Hydra's own node.
        config_name: the primary config, without `.yaml`.
        config_path: the absolute path of the config folder; the repository's `conf` if left out.
        filled_later: keys that may be `???` in the composed config because the task fills them in.

    The folder that the command was started from joins the import path, last, so that a user's `my_package.MyNet` can be
    a `_target_` and can shadow nothing.
    """
    traces = os.environ.get(_TRACES)
    signal.signal(signal.SIGTERM, _terminate)
    guarded = _guarded(task, traces)
    folder = None
    try:
        if PARENT not in os.environ:  # a further rank has been given the whole command
            start = os.getcwd()
            sys.argv[1:] = resumed_arguments(sys.argv[1:], config_name)
            if os.getcwd() != start:  # a resumed run works where it was begun
                sys.argv[0] = os.path.join(start, sys.argv[0])
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        folder, plan = check_command_line(str(config_path), config_name, filled_later)
        if folder is not None and plan is None and launched_rank() is not None:
            sys.argv += joining(folder_of_rank_0(os.path.abspath(folder)))
        os.environ[_TRACES] = "1"  # Hydra hands exceptions on unchanged instead of printing them
        main = hydra.main(version_base="1.3", config_path=str(config_path), config_name=config_name)
        if plan is None:
            main(guarded)()
        else:
            from src.runtime.multirun.whole import run_multirun

            run_multirun(main, task, plan, traces, config_name)
    except _TaskFailed as failed:
        code = _report(failed.__cause__, bool(traces))
    except OSError as error:  # before the task, Hydra touches no file but those of the run folder
        code = _report(error if guarded.started else UserError(os_sentence(error)), bool(traces))
    except BaseException as error:
        code = _report(error, bool(traces))
    else:
        code = 0
    finally:
        _restore(traces)
    if code and guarded.started and not guarded.refused and folder is not None and _has_checkpoint(folder):
        _say(f"its state is kept: python {config_name}.py {shlex.quote(f'resume={folder}')}")
    sys.exit(code)


def joining(folder: str) -> list[str]:
    """The overrides by which a process that torchrun or SLURM has started joins the run in `folder`."""
    return [f"hydra.run.dir={quoted(folder)}", *(["hydra.output_subdir=null"] if launched_rank() else [])]


def _guarded(task: Callable[[DictConfig], None], traces: str | None) -> Callable[[DictConfig], None]:
    """`task` in the user's own environment, with its exceptions carried past Hydra."""

    @functools.wraps(task)  # Hydra looks through the wrapper for the file that the job is named after
    def guarded(config: DictConfig) -> None:
        guarded.started = True
        _restore(traces)  # processes that the task starts should not take our switch for the user's
        try:
            task(config)
        except Exception as error:
            guarded.refused = type(error).__name__ == "CheckpointError"
            raise _TaskFailed from error
        finally:
            os.environ[_TRACES] = "1"

    guarded.started = guarded.refused = False
    return guarded


def _terminate(number: int, frame: object) -> None:
    """Ends the process where Lightning runs nothing that could save its state."""
    raise _Terminated


def _signal_of_fit() -> int | None:
    """The signal that has ended a fit; None if there was none, or nothing was fitted at all."""
    stopping = sys.modules.get("src.runtime.ranks.stopping")
    return stopping.last_signal if stopping else None


def _restore(traces: str | None) -> None:
    if traces is None:
        os.environ.pop(_TRACES, None)
    else:
        os.environ[_TRACES] = traces


def _report(error: BaseException, traces: bool) -> int | str | None:
    """Prints what `error` means for the user; returns the exit code."""
    if is_interrupt(error):
        _say("interrupted")
        return 130
    if isinstance(error, _Terminated) or type(error).__name__ == "SIGTERMException":  # Lightning's, for Ctrl-C too
        interrupted = _signal_of_fit() == signal.SIGINT
        _say("interrupted" if interrupted else "stopped by SIGTERM")
        return 130 if interrupted else 143
    if isinstance(error, SystemExit):
        return error.code
    told = sentence(error)
    if told is None or traces:
        traceback.print_exception(error)
    if told is None:
        return 1
    print(f"error: {_rank()}{told}", file=sys.stderr, flush=True)
    return 2


def _has_checkpoint(folder: str) -> bool:
    return any(Path(folder).glob("checkpoints/*.ckpt"))


def _say(text: str) -> None:
    """What all ranks would say alike is said by the first."""
    if not _rank():
        print(text, file=sys.stderr)


def _rank() -> str:
    """Names the process among those of a distributed run, which all print."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return "" if rank == "0" else f"rank {rank}: "
