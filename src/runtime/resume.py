"""`resume=<run folder>`: the command line that goes on with a run that was stopped, and the check that it is that run.

A resumed run is composed again from the overrides that its folder keeps, and refused if the outcome is not the config
that the folder keeps: after an update of `conf/`, say, it would be another search under the old one's name.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.errors import UserError, did_you_mean
from src.runtime.multirun.plan import RESUMED, quoted
from src.runtime.multirun.whole import is_multirun, multirun_arguments

# What a resumed run may do otherwise than the run before it: where and how it is computed and shown, not what.
MAY_CHANGE = (
    "resume",
    "logger",
    "export",
    "data.root",
    "data.path",
    "data.download",
    "data.num_workers",
    "callbacks.search_progress",
    "callbacks.run_checkpoint",
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "timeout_s", "threads")),
    *(f"trainer.{name}" for name in ("log_every_n_steps", "detect_anomaly", "enable_progress_bar")),
)
_KEPT = ("overrides.yaml", "config.yaml", "hydra.yaml")
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
ENDED = "comparison.csv"  # what a run writes when it has ended


def resumed_arguments(arguments: Sequence[str], command: str) -> list[str]:
    """The arguments of a command line in which `resume=<run folder>` has been replaced by the overrides of that run.

    Further overrides stay, behind those of the run. Goes to the folder in which the run was started, as relative paths
    among its overrides are meant from there. The folder may also be that of a multirun.

    Args:
        arguments: without the name of the script.
        command: "search" or "train": the run must have been one of those.

    Raises:
        UserError: there is no such run, it has ended, or it was one of another command.
    """
    given = [argument for argument in arguments if _key(argument) == "resume" and not argument.startswith("~")]
    if not given or given[-1].partition("=")[2] == "null":
        return list(arguments)
    value = _literal(given[-1].partition("=")[2])
    if not value:
        raise UserError("resume= has no value: give it the folder of a run that was stopped")
    folder = Path(os.path.abspath(os.path.expanduser(value)))
    rest = _options_first([argument for argument in arguments if argument not in given])
    if is_multirun(folder):
        if rest not in ([], ["-m"], ["--multirun"]):
            raise UserError(f"a multirun goes on as it was told: leave {' '.join(rest)} out, or begin a new one")
        os.environ[RESUMED] = "1"
        return multirun_arguments(folder, command)
    if {"-m", "--multirun"} & set(rest):
        raise UserError(f"resume={folder} goes on with one run, which leaves no room for --multirun")
    kept = _kept_command(folder, command)
    named = {_key(argument) for argument in rest}
    lines = [line for line in kept["overrides"] if _key(line) not in named]
    if Path(kept["cwd"]).is_dir():
        os.chdir(kept["cwd"])
    own = [f"resume={quoted(folder)}", f"hydra.run.dir={quoted(folder)}", "hydra.output_subdir=null", "hydra.mode=RUN"]
    return _options_first([*kept["options"], *lines, *rest, *own])


def _literal(value: str) -> str:
    """A path as it was given, whatever characters it has; without the quotes that may stand around it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return re.sub(r"\\(['\"])", r"\1", value[1:-1]).replace("\\${", "${")
    return "" if value == "null" else value


def _options_first(arguments: Sequence[str]) -> list[str]:
    """The options of a command line before its overrides: between overrides Hydra does not take them."""
    options, overrides, rest = [], [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in _WITH_VALUE and rest:
            options += [word, rest.pop(0)]
        else:
            (options if word.startswith("-") else overrides).append(word)
    return [*options, *overrides]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _kept_command(folder: Path, command: str) -> dict[str, Any]:
    """What `folder` keeps of the command of its run: overrides, options such as --config-dir, and where it began."""
    if folder.is_file():
        raise UserError(f"resume={folder}: it is a file; give the run folder")
    if not folder.is_dir():
        siblings = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        near = did_you_mean(folder.name, siblings)
        hint = f"; {near}" if near.startswith("did you mean") else ""
        raise UserError(f"resume={folder}: there is no such run folder{hint}")
    missing = [name for name in _KEPT if not (folder / ".hydra" / name).is_file()]
    if missing:
        raise UserError(f"resume={folder}: no run folder, or its run had not begun (it has no .hydra/{missing[0]})")
    if (folder / ENDED).is_file():
        raise UserError(f"the run in {folder} has ended; train.py architecture={folder} trains what it has found")
    overrides, hydra = _read(folder, "overrides.yaml"), _read(folder, "hydra.yaml")
    node = OmegaConf.select(hydra, "hydra", default=None)
    try:
        name, cwd = str(node.job.config_name), str(node.runtime.cwd)
        own = [str(path.path) for path in node.runtime.config_sources if path.provider == "command-line"]
    except (OmegaConfBaseException, AttributeError) as error:
        raise UserError(f"{folder}/.hydra/hydra.yaml is damaged: it does not say what the run was") from error
    if name != command:
        raise UserError(f"the run in {folder} was of {name}.py: python {name}.py resume={folder}")
    return {
        "overrides": [str(line) for line in overrides if _key(str(line)) != "resume"],
        "cwd": cwd,
        "options": [f"--config-dir={path}" for path in own],
    }


def _read(folder: Path, name: str) -> Any:
    path = folder / ".hydra" / name
    try:
        return OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is damaged: {(str(error).splitlines() or [''])[0]}") from error


def check_same_run(config: DictConfig, folder: str | os.PathLike) -> None:
    """Raises `UserError` where `config` is not that of the run in `folder`, what may change aside."""
    before = _leaves(OmegaConf.to_container(_read(Path(folder), "config.yaml"), resolve=False))
    now = dict(_leaves(OmegaConf.to_container(config, resolve=False)).items())
    now = {key: value for key, value in now.items() if not key.startswith("hydra.")}
    for key in sorted({*before, *now}):
        if not _may_change(key) and before.get(key, "absent") != now.get(key, "absent"):
            raise UserError(
                f"a resumed run keeps its settings: {key} was {before.get(key, 'absent')!r} and would be "
                f"{now.get(key, 'absent')!r}; leave out what sets it, or begin a new run (where conf/ or the .hydra of "
                "the run has changed since, its settings are no longer known)"
            )


def run_identity(config: DictConfig) -> str:
    """A hash of all settings that a resumed run must share with the run before it."""
    leaves = _leaves(OmegaConf.to_container(config, resolve=False))
    fixed = {key: value for key, value in leaves.items() if not _may_change(key)}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _may_change(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a nested mapping by dotted key; an empty mapping is a value."""
    if not isinstance(value, dict) or not value:
        return {prefix.rstrip("."): value}
    found = {}
    for key, item in value.items():
        found |= _leaves(item, f"{prefix}{key}.")
    return found
