"""What is known of a multirun before its first job: its folder, its jobs, what varies between them.

A sweeper that chooses as it goes (Optuna) has jobs that nobody knows beforehand; of Hydra's basic one all are known.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runtime.multirun.record import holds_results, job_folders

RESUMED = "ESPALIER_RESUME"  # environment: "1" where this multirun goes on with the one in its folder
OPTIONS = ("config_name", "config_path", "config_dir")


@dataclass(frozen=True)
class SweepPlan:
    """A multirun as the command line asks for it.

    Args:
        folder: of the whole multirun, absolute.
        options: of the command line, as `--config-name=...`.
        task: overrides of the task's config, sweeps as they were given.
        hydra: overrides of Hydra's own config, without those that say where and in which mode it runs.
        jobs: the task overrides of each job; None where the sweeper chooses them as it goes.
        count: how many jobs there will be; None where that is not known.
        swept: the keys that are swept over.
        parallel: whether several jobs run at once on this machine.
        local: whether jobs are made processes on this machine; no batch system starts them, or their ranks.
        added: overrides that this process needs besides those that were given.
        resumed: whether the folder holds a part of the same multirun, to be completed.
    """

    folder: str
    options: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    hydra: tuple[str, ...] = ()
    jobs: tuple[tuple[str, ...], ...] | None = None
    count: int | None = None
    swept: tuple[str, ...] = ()
    parallel: bool = False
    local: bool = True
    added: tuple[str, ...] = ()
    resumed: bool = False

    def shown(self, overrides: Sequence[str]) -> str:
        """What sets a job with these task overrides apart: those that are swept over; all where that is not known."""
        varied = [text for text in overrides if bare_key(text) in self.swept]
        return " ".join(text.lstrip("+") for text in varied or overrides)


def bare_key(override: str) -> str:
    """The key of an override: `model.depth` of `+model.depth=4`."""
    return override.partition("=")[0].strip().lstrip("+~")


def quoted(text: str | os.PathLike) -> str:
    """`text` as a value that Hydra reads as that text, whatever is in it."""
    return QuotedString(str(text).replace("${", "\\${"), Quote.single).with_quotes()


def own_process_needed(environment: Mapping[str, str]) -> bool:
    """Whether a job has to be made a process: not where SLURM has started its ranks already, each of which is here."""
    return int(environment.get("SLURM_NTASKS") or 1) <= 1


def planned_sweep(
    arguments: argparse.Namespace,
    overrides: Sequence[Override],
    config: DictConfig,
    folder: str,
    parser: OverridesParser,
) -> SweepPlan:
    """The multirun that a checked command line asks for.

    Args:
        arguments: the parsed command line.
        overrides: those of it, parsed.
        config: composed for the first job, with Hydra's own node.
        folder: `hydra.sweep.dir`.
        parser: for overrides that stand in the config (`hydra.sweeper.params`).

    Raises:
        UserError: the folder holds results and this is no resumed multirun; an interval for a sweeper that tries lists;
            one that would look for the worst network; a start by torchrun, whose ranks would each run all jobs; a
            pipeline whose jobs would not wait for each other.
    """
    resumed = os.environ.get(RESUMED) == "1"
    folder = os.path.abspath(folder)
    _check(Path(folder), config, os.environ, resumed)
    task = [override for override in overrides if not override.is_hydra_override()]
    parameters = OmegaConf.select(config, "hydra.sweeper.params") or {}
    # a key on the command line takes the place of the same key in the config, as in Hydra's sweepers
    every = [*parser.parse_overrides([f"{key}={value}" for key, value in parameters.items()]), *task]
    basic = str(config.hydra.sweeper.get("_target_")).endswith(".BasicSweeper")
    drawn = next((o for o in every if o.is_sweep_override() and not o.is_discrete_sweep()), None)
    if basic and drawn is not None:
        raise UserError(f"{drawn.input_line} has no list of values to try: give one, or add hydra/sweeper=optuna")
    jobs = BasicSweeper.split_arguments(every, None)[0] if basic else None
    trials = None if "Grid" in str(_sampler(config).get("_target_")) else config.hydra.sweeper.get("n_trials")
    launcher = config.hydra.launcher
    local = str(launcher.get("_target_")).rpartition(".")[2] in ("BasicLauncher", "JoblibLauncher")
    local = local and own_process_needed(os.environ)
    added = [f"hydra.sweep.dir={quoted(folder)}"]
    if local:  # the job's own process writes them, and logs
        added += ["hydra.output_subdir=null", "hydra.job_logging.root=null"]
    rate = "hydra.sweeper.max_failure_rate"
    if config.hydra.sweeper.get("max_failure_rate") == 0 and rate not in [o.key_or_group for o in overrides]:
        added.append(f"{rate}=1.0")  # Optuna's sweeper ends at the first failed trial unless it is told otherwise
    if "seed" in _sampler(config) and _sampler(config).seed is None:  # one seed, one result; and a resume repeats it
        added.append(f"hydra.sweeper.sampler.seed={config.get('seed') if isinstance(config.get('seed'), int) else 0}")
    return SweepPlan(
        folder=folder,
        options=tuple(_options(arguments)),
        task=tuple(override.input_line for override in task),
        hydra=tuple(o.input_line for o in overrides if o.is_hydra_override() and not _is_ours(o.input_line)),
        jobs=None if jobs is None else tuple(map(tuple, jobs)),
        count=trials if jobs is None else len(jobs),
        swept=tuple(dict.fromkeys(bare_key(o.get_key_element()) for o in every if o.is_sweep_override())),
        parallel=local and launcher.get("n_jobs", 1) != 1,
        local=local,
        added=tuple(added),
        resumed=resumed,
    )


def _check(folder: Path, config: DictConfig, environment: Mapping[str, str], resumed: bool) -> None:
    if "TORCHELASTIC_RUN_ID" in environment:
        raise UserError("a multirun starts the ranks of its jobs itself: start it without torchrun, with trainer=ddp")
    directions = config.hydra.sweeper.get("direction", "minimize")
    directions = list(directions) if OmegaConf.is_list(directions) else [directions]
    if any(getattr(direction, "name", direction) != "minimize" for direction in directions) or len(directions) > 2:
        raise UserError(
            "hydra.sweeper.direction must be minimize, for the validation error, or [minimize,minimize], for error and"
            " MACs"
        )
    launcher = str(config.hydra.launcher.get("_target_")).rpartition(".")[2]
    if config.get("pipeline") and launcher != "BasicLauncher":
        raise UserError(
            f"hydra/launcher ({launcher}) may start several jobs at once, and those of this experiment need what the "
            "earlier ones have found: leave it out"
        )
    if resumed:
        return
    for job in job_folders(folder):
        if holds_results(job):
            raise UserError(
                f"the folder {folder} holds the jobs of another multirun: give another hydra.sweep.dir,"
                f" or go on with it by resume={folder}"
            )


def _sampler(config: DictConfig) -> Mapping:
    """The settings of an optimising sweeper's sampler; empty for a sweeper that has none."""
    sampler = config.hydra.sweeper.get("sampler")
    return sampler if OmegaConf.is_dict(sampler) else {}


def _options(arguments: argparse.Namespace) -> list[str]:
    given = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    if "config_dir" in given:
        given["config_dir"] = os.path.abspath(given["config_dir"])
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def _is_ours(override: str) -> bool:
    """Whether an override says where and in which mode Hydra runs: a job's process is told that anew."""
    return bare_key(override) in ("hydra.mode", "hydra.run.dir", "hydra.sweep.dir")
