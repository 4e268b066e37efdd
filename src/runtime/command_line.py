"""Checks a command line before Hydra acts on it, so that a mistake costs neither a stack trace nor a run folder.

The config is composed once in the way Hydra will compose it. What Hydra refuses is told with the nearest valid key or
choice; and what Hydra lets pass but would have no effect, a `+key=value` that nothing reads, is refused as well.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from yaml import YAMLError

from src.errors import UserError, did_you_mean
from src.runtime.key_names import children_of, copied_node, known_keys, look_up_all, missing_keys, nearest_keys
from src.runtime.mistakes import config_sentence, one_line
from src.runtime.multirun.plan import SweepPlan, planned_sweep
from src.runtime.ranks.watch import PARENT
from src.runtime.resume import check_same_run

# Nodes whose content is passed on as free arguments: whatever builds from them knows its own arguments and checks them.
FREE_NODES = {"model", "data", "task", "trainer", "logger", "callbacks", "hydra", "module", "optimizer", "scheduler"}

# What Hydra raises while it composes; an AssertionError where a `+` would add below a node that is null.
_REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, AssertionError)


# Choices that belong to an optional plugin of Hydra, and the package that has it.
_PLUGINS = {
    ("hydra/sweeper", "optuna"): "hydra-optuna-sweeper",
    ("hydra/launcher", "joblib"): "hydra-joblib-launcher",
    ("hydra/launcher", "submitit_slurm"): "hydra-submitit-launcher",
    ("hydra/launcher", "submitit_local"): "hydra-submitit-launcher",
}
RESULTS = ("architecture.yaml", "candidates.csv", "comparison.csv", "weights.pt", "checkpoints")


class Checked(NamedTuple):
    """What a command line will do: the folder that Hydra will make, and the plan of a multirun."""

    folder: str | None = None
    sweep: SweepPlan | None = None


@dataclass
class CommandLine:
    """A parsed command line and the configs that it refers to."""

    loader: ConfigLoaderImpl
    config_name: str
    overrides: list[Override]

    def compose(self, overrides: Sequence[str], mode: RunMode = RunMode.RUN) -> DictConfig:
        return self.loader.load_configuration(
            config_name=self.config_name,
            overrides=list(overrides),
            run_mode=mode,
            validate_sweep_overrides=mode == RunMode.RUN,
        )

    def is_group(self, key: str) -> bool:
        return bool(self.loader.get_group_options(key))

    def groups(self, parent: str = "") -> list[str]:
        found = []
        for name in self.loader.list_groups(parent):
            full = f"{parent}/{name}" if parent else name
            if not full.startswith("hydra"):
                found += [full, *self.groups(full)]
        return found

    def known(self) -> DictConfig:
        """The config without the overrides of single values: what keys there are to override."""
        chosen = [line.input_line for line in self.overrides if self.is_group(line.key_or_group)]
        for attempt in (chosen, []):
            try:
                return self.compose(attempt, RunMode.MULTIRUN)
            except _REFUSALS:
                continue
        return OmegaConf.create()


def check_command_line(config_path: str, config_name: str, filled_later: Iterable[str] = ()) -> Checked:
    """Raises `UserError` for what in `sys.argv` cannot become a run; does nothing for `--help` and the like."""
    arguments = _parsed_arguments()
    if arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion:
        return Checked()
    if arguments.experimental_rerun is not None:
        return Checked()
    setup_globals()  # Hydra's resolvers, `now` among them
    loader = _loader(config_path, arguments)
    try:
        parser = OverridesParser.create(config_loader=loader)
        overrides = parser.parse_overrides(arguments.overrides)
    except OverrideParseException as error:
        nothing = CommandLine(loader, arguments.config_name or config_name, [])
        raise UserError(_syntax_sentence(error, nothing)) from error
    line = CommandLine(loader, arguments.config_name or config_name, overrides)
    _check_deletions(line)
    config, multirun = _composed(line, arguments.multirun)
    _check_additions(line, config)
    if arguments.cfg is not None:
        return Checked()
    try:
        folder = _output_folder(config, multirun)
        _check_values(config, set(filled_later))
    finally:
        HydraConfig.instance().cfg = None  # nothing runs yet: paths must not be taken as relative to a run's start
    check_folder(folder)
    if multirun:
        return Checked(folder, planned_sweep(arguments, overrides, config, folder, parser))
    if config.get("resume") is not None:
        check_same_run(config, folder)
    elif PARENT not in os.environ and os.environ.get("RANK", "0") == "0":  # further ranks join in
        check_unused(folder)
    return Checked(folder)


def check_folder(folder: str) -> None:
    """Raises `UserError` if `folder` could not be made or written to; makes nothing."""
    ancestor = Path(folder).absolute()
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise UserError(f"the output folder {folder} cannot be made: {ancestor} is a file")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise UserError(f"the output folder {folder} cannot be written: permission denied in {ancestor}")


def check_unused(folder: str) -> None:
    """Raises `UserError` if a run has left its results in `folder`: those of two runs would be mixed there."""
    left = [name for name in RESULTS if (Path(folder) / name).exists()]
    if left:
        raise UserError(
            f"the output folder {folder} holds the {left[0]} of another run: give another hydra.run.dir, or go on with "
            f"that run by resume={folder}"
        )


def _parsed_arguments() -> argparse.Namespace:
    parser = get_args_parser()

    def refuse(message: str) -> None:
        where = "; -m stands before all settings" if {"-m", "--multirun"} & set(sys.argv[2:]) else ""
        raise UserError(f"{message}; settings are given as key=value without dashes, --help lists the options{where}")

    parser.error = refuse
    return parser.parse_args()


def _loader(config_path: str, arguments: argparse.Namespace) -> ConfigLoaderImpl:
    """Reads the same folders that Hydra will read."""
    if arguments.config_path is not None:
        script = getattr(sys.modules["__main__"], "__file__", None) or "."
        config_path = os.path.join(os.path.dirname(os.path.abspath(script)), arguments.config_path)
    search_path = create_config_search_path(config_path)
    if arguments.config_dir is not None:
        extra = os.path.abspath(arguments.config_dir)
        if not os.path.isdir(extra):
            raise UserError(f"--config-dir {arguments.config_dir} is not a folder")
        search_path.prepend("command-line", f"file://{extra}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(config_search_path=search_path)


def _composed(line: CommandLine, multirun: bool) -> tuple[DictConfig, bool]:
    """The config of the run, or of the first job of a multirun, after every choice of the sweep has been looked up."""
    try:
        swept = multirun or any(override.is_sweep_override() for override in line.overrides)
        given = [override.input_line for override in line.overrides]
        config = line.compose(given, RunMode.MULTIRUN if swept else RunMode.RUN)
        multirun = multirun or config.hydra.mode == RunMode.MULTIRUN
        if not swept and not multirun:
            return config, False
        lines = _sweep_of(config, line) if multirun else [[one] for one in given]
        config = line.compose([choices[0] for choices in lines])
        for index, choices in enumerate(lines):
            for choice in choices[1:]:
                line.compose([choice if i == index else other[0] for i, other in enumerate(lines)])
    except MissingConfigException as error:
        raise UserError(_choice_sentence(error, line)) from error
    except _REFUSALS as error:
        raise UserError(_composition_sentence(error, line)) from error
    return config, multirun


def _sweep_of(config: DictConfig, line: CommandLine) -> list[list[str]]:
    """The overrides of a multirun's jobs: the values of each key that have to be tried, one at least.

    Every choice of a config group is tried, because each is a file; of other sweeps the first value stands for all.
    """
    parser = OverridesParser.create(config_loader=line.loader)
    swept = list(line.overrides)
    parameters = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = {override.key_or_group for override in swept}
    swept += parser.parse_overrides([f"{key}={value}" for key, value in parameters.items() if key not in given])
    lines = []
    for override in swept:
        if not override.is_sweep_override():
            lines.append([override.input_line])
            continue
        if not override.is_discrete_sweep():  # interval(...): Optuna's, a number in any case
            lines.append([f"{override.get_key_element()}={override.value().start}"])
            continue
        values = list(override.sweep_string_iterator())
        tried = values if line.is_group(override.key_or_group) else values[:1]
        lines.append([f"{override.get_key_element()}={value}" for value in tried])
    return lines


def _check_additions(line: CommandLine, config: DictConfig) -> None:
    """Refuses `+key=value` where nothing would read the new key."""
    added = [o for o in line.overrides if (o.is_add() or o.is_force_add()) and not line.is_group(o.key_or_group)]
    if not added:
        return
    known = line.known()
    keys = known_keys(known)
    for override in added:
        key = override.key_or_group
        parents = key.split(".")[:-1]
        free = parents and parents[0] in known and not set(parents).isdisjoint(FREE_NODES)
        idle = _idle_node(key, known, config)
        if key in keys or (free and idle is None):
            continue
        near = _nearest(key if idle is None or copied_node(known, key) else idle, known, line)
        raise UserError(f"{override.input_line}: nothing reads a new key '{key}'; {near}")


def _idle_node(key: str, known: DictConfig, config: DictConfig) -> str | None:
    """The node that `key` has made and that no one can build, because nothing says of which class; else None.

    Such a node is a callback of a new name, or takes the place of another node's copy (`retrain.optimizer`).
    """
    copied = copied_node(known, key)
    callback = re.match(r"((?:.+\.)?callbacks\.[^.]+)\.", key)
    node = copied[0] if copied else callback[1] if callback else None
    made = OmegaConf.select(config, node) if node else None
    return node if OmegaConf.is_dict(made) and "_target_" not in made else None


def _check_deletions(line: CommandLine) -> None:
    """Refuses `~key` of what every run reads; arguments of a node, and callbacks, may be left out."""
    deleted = [override for override in line.overrides if override.is_delete()]
    known = set(known_keys(line.known())) if deleted else set()  # another key is a slip, which Hydra refuses
    for override in deleted:
        node, _, inner = override.key_or_group.partition(".")
        optional = inner and node in ("model", "data", "task", "optimizer", "scheduler", "callbacks", "hydra")
        group = line.is_group(override.key_or_group) and override.key_or_group not in ("experiment", "sweep", "debug")
        if (group or override.key_or_group in known) and not optional and not inner.startswith("callbacks."):
            raise UserError(
                f"{override.input_line} takes out what every run reads: set {override.key_or_group}=null, or another "
                "choice, where there is one"
            )


def _check_values(config: DictConfig, filled_later: set[str]) -> None:
    """Every value is there and every interpolation resolves, as they would in the job."""
    task = config.copy()
    with read_write(task), open_dict(task):
        del task["hydra"]
    missing = [key for key in missing_keys(task) if key not in filled_later]
    if missing and missing[0] == "pipeline.stage":
        raise UserError("this experiment has several stages, the jobs of a multirun: add -m, or give one by stage=...")
    if missing:
        raise UserError(f"{missing[0]} has no value: give it as {missing[0]}=...")
    try:
        look_up_all(task)
    except InterpolationToMissingValueError as error:
        if not filled_later:
            raise UserError(config_sentence(error)) from error
    except OmegaConfBaseException as error:
        raise UserError(config_sentence(error)) from error


def _output_folder(config: DictConfig, multirun: bool) -> str:
    """The folder that Hydra will make; what the `hydra:` resolver tells a job of itself is known from here on."""
    HydraConfig.instance().set_config(config)
    try:
        folder = str(config.hydra.sweep.dir if multirun else config.hydra.run.dir)
    except OmegaConfBaseException as error:
        raise UserError(config_sentence(error)) from error
    with read_write(config.hydra), open_dict(config.hydra):  # read-only since the call above
        config.hydra.runtime.output_dir = os.path.abspath(folder)
        config.hydra.job.num, config.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(config)
    return folder


def _syntax_sentence(error: OverrideParseException, line: CommandLine) -> str:
    given = error.override
    key = re.match(r"[+~]*(\w[\w.]*)=", given)
    if key and any(part[:1].isdigit() for part in key[1].split(".")):  # Hydra cannot even read such a key
        return f"the config has no key '{key[1]}'; {_nearest(key[1], line.known(), line)}"
    if "=" not in given and not given.startswith("~"):
        return f"'{given}' is not a setting: write it as key=value"
    return f"'{given}' cannot be read as key=value ({one_line(error.message.splitlines()[0])})"


def _choice_sentence(error: MissingConfigException, line: CommandLine) -> str:
    """A choice of a config group, or a config, that is not there."""
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return f"there is no config {choice!r}; {did_you_mean(choice, line.loader.get_group_options(''))}"
    options = list(error.options or line.loader.get_group_options(group))
    if (group, choice) in _PLUGINS:
        return f"{group}={choice} needs a plugin of Hydra: pip install {_PLUGINS[group, choice]}"
    if not options:
        return f"{group}={choice}: there is no config group {group!r}; {did_you_mean(group, line.groups())}"
    nearest = did_you_mean(choice, options)
    every = "" if nearest.startswith("allowed") or len(options) == 1 else f" (allowed: {', '.join(sorted(options))})"
    return f"{group}={choice} is not known; {nearest}{every}"


def _composition_sentence(error: Exception, line: CommandLine) -> str:
    """What Hydra refuses while it composes: for a key that is not there, the nearest ones that are."""
    text = str(error)
    for override in line.overrides:
        if override.value_type == ValueType.SIMPLE_CHOICE_SWEEP and f"'{override.input_line}'" in text:
            return (
                f"{override.input_line} is several values: add --multirun to run one job for each,"
                f" or write {override.key_or_group}=[...] for a list"
            )
        if override.value() is None and line.is_group(override.key_or_group) and "must be a string" in text:
            options = ", ".join(line.loader.get_group_options(override.key_or_group))
            return f"{override.input_line} is not allowed; choose one of {options}"
    inner = getattr(error.__cause__, "full_key", None)  # of key={...}: a name inside the braces, or the key itself
    unknown = re.search(r"Could not (?:override|delete from config\.|delete) '([^'=@]+)", text)
    exists = re.search(r"An item is already at '([^']+)'", text)
    group = re.search(r"config group '([^']+)' does not\s+exist", text)
    if exists and not copied_node(line.known(), exists[1]):
        return f"'{exists[1]}' is there already: give it without the plus, as {exists[1]}=..."
    if unknown and line.is_group(unknown[1]) and "No match in the defaults list" in text:
        options = ", ".join(line.loader.get_group_options(unknown[1]))
        return f"'{unknown[1]}' is no part of this config yet: add it as +{unknown[1]}=... (allowed: {options})"
    unknown = unknown or exists
    if not unknown and not group:
        return config_sentence(error)
    key = unknown[1] if unknown else group[1]
    if isinstance(inner, str) and inner.startswith(f"{key}."):
        key = inner
    return f"the config has no key '{key}'; {_nearest(key, line.known(), line)}"


def _nearest(key: str, known: DictConfig, line: CommandLine) -> str:
    """The end of a sentence about the unknown `key`: the keys and groups that were probably meant, or all that fit."""
    copied = copied_node(known, key)
    if copied:
        node, origin = copied
        there = _nearest(origin + key.removeprefix(node), known, line)
        return f"{node} is a copy of {origin}: {there} (or give all of it: '{node}={{_target_: ..., ...}}')"
    keys = known_keys(known) + line.groups()
    near = nearest_keys(key, [name for name in keys if name.startswith("hydra.") == key.startswith("hydra.")])
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    return f"allowed: {', '.join(children_of(known, key))}"
