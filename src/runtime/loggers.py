"""The loggers of a run, from the `logger` node of the config (`conf/logger`): metrics.csv, TensorBoard and W&B.

One W&B run holds a whole search, final training included: callers log under prefixes. Weights & Biases never ends a
run of ours: without a key it writes offline, and what goes wrong with it costs one warning.
"""

import logging
import netrc
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from src.errors import UserError, check_choice, check_flag, check_text, did_you_mean
from src.runtime.metrics_file import MetricsFile
from src.runtime.mistakes import one_line
from src.whole_files import written_whole

_MODES = ("online", "offline", "disabled")
_OPTIONS = ("csv", "tensorboard", "wandb", "project", "entity", "group", "tags", "mode")
_SECONDS_TO_CONNECT = 30

log = logging.getLogger(__name__)


def make_loggers(
    config: Mapping | DictConfig | None,
    folder: str | os.PathLike,
    name: str,
    config_to_log: Mapping | DictConfig | None = None,
) -> list[Logger]:
    """The loggers that `config` asks for.

    Args:
        config: the `logger` node: booleans `csv`, `tensorboard`, `wandb`, and for W&B `project`, `entity`, `group`,
            `tags` and `mode`.
        folder: the run folder; gets `metrics.csv`, `tensorboard/` and `wandb/`.
        name: of the run, for W&B.
        config_to_log: the config of the run, for W&B.

    Raises:
        UserError: an option or a mode that is not there.
    """
    options = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config or {})
    for option in options:
        if option not in _OPTIONS:
            raise UserError(f"logger has no option '{option}'; {did_you_mean(option, _OPTIONS)}")
    for option in ("csv", "tensorboard", "wandb"):
        check_flag(f"logger.{option}", options.get(option, False))
    tags = [] if options.get("tags") is None else options["tags"]
    if not isinstance(tags, Sequence) or isinstance(tags, str):
        raise UserError(f"logger.tags={tags!r} is not allowed; it must be a list of texts")
    texts = {f"logger.{option}": options.get(option) for option in ("project", "entity", "group")}
    for option, text in (texts | {f"logger.tags[{index}]": tag for index, tag in enumerate(tags)}).items():
        if text is not None:
            check_text(option, text)
    if options.get("mode") is not None:
        check_choice("logger.mode", options["mode"], _MODES)
    loggers: list[Logger] = []
    if options.get("csv"):
        loggers.append(MetricsFile(folder))
    if options.get("tensorboard"):
        _silence_writers()
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False))
    os.environ.setdefault("WANDB_SILENT", "true")  # read when wandb is first used, to find its key
    mode = _mode(options.get("mode")) if options.get("wandb") else "disabled"
    if mode != "disabled":
        loggers += _wandb_logger(options, mode, Path(folder), name, _plain(config_to_log))
    return loggers


def _silence_writers() -> None:
    """What fails in TensorBoard's writing thread is raised again by the next write: no need of a trace of its own."""
    hook = threading.excepthook
    if getattr(hook, "silences_writers", False):
        return

    def told_elsewhere(arguments) -> None:
        if not type(arguments.thread).__module__.startswith("tensorboard."):
            hook(arguments)

    told_elsewhere.silences_writers = True
    threading.excepthook = told_elsewhere


def close(loggers: Sequence[Logger], status: str = "success") -> None:
    """Writes what the loggers hold and ends the W&B run; `status` is "success" or "failed"."""
    for logger in loggers:
        logger.finalize(status)
        if isinstance(logger, WandbLogger):
            _finish(logger, status)


@rank_zero_only
def _finish(logger: WandbLogger, status: str) -> None:
    try:
        logger.experiment.finish(exit_code=0 if status == "success" else 1)
    except Exception as error:
        log.warning("W&B could not end its run: %s", one_line(error))


def _mode(given: str | None) -> str:
    """online, offline or disabled: the config's word, then WANDB_MODE, then whether there is a key."""
    mode = given or os.environ.get("WANDB_MODE")
    if mode:
        mode = {"dryrun": "offline", "run": "online", "shared": "online"}.get(mode, mode)
        return check_choice("logger.mode", mode, _MODES)
    return "online" if _has_key() else "offline"


def _has_key() -> bool:
    """Whether W&B would find a key: in the environment, its own settings or the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb

    settings = wandb.setup().settings
    if settings.api_key:
        return True
    hosts = {urlsplit(settings.base_url).netloc, "api.wandb.ai"}
    places = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for place in map(os.path.expanduser, places):
        try:
            known = netrc.netrc(place)
        except (OSError, netrc.NetrcParseError):
            continue
        if any(known.authenticators(host) for host in hosts):
            return True
    return False


def _wandb_logger(options: dict, mode: str, folder: Path, name: str, config: dict) -> list[Logger]:
    """The W&B logger, or none where W&B does not work at all; on other ranks than the first it logs nothing."""
    if rank_zero_only.rank != 0:
        return [WandbLogger(project=options.get("project"), save_dir=str(folder), offline=True)]
    try:
        run = _started(options, mode, folder, name, config)
    except Exception as error:  # no network, a bad key, a full disk: W&B raises its own kinds and others
        if mode == "offline":
            log.warning("W&B is left out of this run: %s", one_line(error))
            return []
        log.warning("W&B writes offline, because it cannot be reached: %s", one_line(error))
        return _wandb_logger(options, "offline", folder, name, config)
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return [WandbLogger(experiment=run, project=run.project, save_dir=str(folder), offline=mode == "offline")]


def _started(options: dict, mode: str, folder: Path, name: str, config: dict) -> Any:
    """A W&B run in `folder`; the same one again if an earlier process of this run folder had started it."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "wandb" / "run_id.txt"
    identity = kept.read_text(encoding="utf-8").strip() if kept.is_file() else ""
    run = wandb.init(
        project=options.get("project") or "espalier",
        entity=options.get("entity"),
        group=options.get("group"),
        tags=list(options.get("tags") or []),
        name=name,
        dir=str(folder),
        config=config,
        mode=mode,
        id=identity or None,
        resume="allow" if identity and mode == "online" else None,
        settings=wandb.Settings(console="off", init_timeout=_SECONDS_TO_CONNECT),
    )
    with written_whole(kept) as temporary:
        temporary.write_text(f"{run.id}\n", encoding="utf-8")
    return run


def _plain(config: Mapping | DictConfig | None) -> dict:
    if isinstance(config, DictConfig):
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return dict(config or {})
