"""From the config to what a run works with: its folder, data, model config, callbacks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from src.data.labels import KINDS
from src.errors import UserError, check_text
from src.runtime.architecture import FILE_NAME, FRONT, load_architecture, run_of, weights_of
from src.runtime.build import build
from src.runtime.checkpoints import RunState
from src.runtime.data_of_members import take_run_of_members
from src.runtime.loggers import close, make_loggers
from src.runtime.members import given_members
from src.runtime.resume import run_identity
from src.runtime.run_lock import lock_run_folder
from src.runtime.seeds import seed_everything
from src.runtime.settings import check_settings
from src.runtime.trainer import threads_for
from src.runtime.trial_step import try_optimizer, try_scheduler
from src.whole_files import written_whole


def run_folder(config: DictConfig) -> Path:
    """The folder that Hydra has made for this run, locked; seeds the process, checks what hours later would be late."""
    check_settings(config)
    if config.architecture is not None and any(key.split(".")[0] == "model" for key in _given()):
        raise UserError("model and architecture exclude each other: give one of them")
    seed_everything(config.seed)
    logging.raiseExceptions = False  # on a full disk every line for search.log would be told by a stack trace
    folder = Path(HydraConfig.get().runtime.output_dir)
    if rank_zero_only.rank == 0:
        lock_run_folder(folder)
    return folder


def _given() -> set[str]:
    """The keys that the command line sets."""
    return {str(text).lstrip("+~").split("=")[0] for text in HydraConfig.get().overrides.task}


def prepared_data(config: DictConfig) -> pl.LightningDataModule:
    """The data of a run, read: that of `data`, or where only an architecture is given, what its run folder names.

    What the data knows of itself is written into the config: for model, task, threads. The config is complete then,
    and `.hydra/resolved.yaml` keeps it.
    """
    if config.architecture is not None and not {"data", "experiment"} & _given():
        _take_data_of(config)
    if config.get("method") and config.method.get("supernet") is not None:
        _take_run_of_supernet(config)
    if config.get("method") and "members" in config.method:
        take_run_of_members(config, _given())
    data = build(config.data, "data")
    data.prepare_data()
    data.setup()
    with open_dict(config):
        config.data.num_classes = data.num_classes
        config.data.channels = data.input_shape[0]
        if config.trainer.threads is None:
            config.trainer.threads = threads_for(data.batch_size, data.input_shape)
        if config.architecture is not None:
            config.model = model_config(config)
            _check_fits(config.model, data)
    if rank_zero_only.rank == 0:
        with written_whole(Path(HydraConfig.get().runtime.output_dir) / ".hydra" / "resolved.yaml") as path:
            OmegaConf.save(config, path, resolve=True)
    return data


def prepared_task(config: DictConfig, data: pl.LightningDataModule) -> Any:
    """The task of a run; raises `UserError` where it takes other labels than `data`, which is set up, gives.

    Both say it by `targets`, "class" or "attributes"; a task or data of the user's own that does not say is believed.
    """
    task = build(config.task, "task")
    takes, gives = (getattr(part, "targets", None) for part in (task, data))
    if all(isinstance(kind, str) and kind in KINDS for kind in (takes, gives)) and takes != gives:
        fitting = {"class": "classification", "attributes": "multilabel"}[gives]
        raise UserError(f"data {data.name} has {KINDS[gives][1]}: give task={fitting}")
    return task


def run_state(config: DictConfig, folder: Path) -> RunState:
    """What the run has kept so far, and keeps from now on; call it once the config is complete."""
    state = RunState(folder, run_identity(config), resumed=config.resume is not None)
    if state.resumed and rank_zero_only.rank == 0:
        print("going on from the last checkpoint" if state.checkpoint() else "no checkpoint yet: from the beginning")
    return state


def _folder(config: DictConfig) -> Path:
    """The folder that `architecture` names, itself or by a file in it."""
    path = Path(config.architecture).expanduser().resolve()
    return path if path.is_dir() else path.parent


def _origin(config: DictConfig) -> Path:
    """The run folder that `architecture` is from."""
    folder = _folder(config)
    return run_of(folder) or (folder.parent if folder.name == FRONT else folder)


def _take_data_of(config: DictConfig) -> None:
    """Takes the data that the run of `architecture` was on; leaves the default where it is not known."""
    kept = _origin(config) / ".hydra" / "resolved.yaml"
    if kept.is_file():
        data = OmegaConf.load(kept).data
        data.seed = config.seed
        for key in _given():
            if key.startswith("data."):
                OmegaConf.update(data, key.removeprefix("data."), OmegaConf.select(config, key), force_add=True)
        with open_dict(config):
            config.data = data
        print(f"data: {config.data.name}, as in {kept.parents[1]}")


# What of the data may differ from that of the run whose super-net is searched: it changes no image and no split.
_MAY_DIFFER = ("root", "download", "batch_size", "eval_batch_size", "num_workers")


def _take_run_of_supernet(config: DictConfig) -> None:
    """Takes data and model of the run whose super-net is searched; raises `UserError` where other data is given.

    With another split the super-net would be judged by images that it was trained on.
    """
    folder = Path(check_text("method.supernet", config.method.supernet)).expanduser()
    if config.resume is not None and (_resolved(HydraConfig.get().runtime.output_dir)).is_file():
        folder = Path(HydraConfig.get().runtime.output_dir)  # the other run need not be there any more
    if not _resolved(folder).is_file():
        told = f"method.supernet={config.method.supernet}"
        raise UserError(f"{told}: it is no run folder, there is no {_resolved(folder)}")
    theirs, given = OmegaConf.load(_resolved(folder)), _given()
    data = theirs.data
    for key in sorted(given):
        name = key.removeprefix("data.")
        value = OmegaConf.select(config, key) if key.startswith("data.") else None
        if key.startswith("data.") and name in _MAY_DIFFER:
            OmegaConf.update(data, name, value)
        elif key.startswith("data.") and OmegaConf.select(data, name) != value:
            raise UserError(
                f"{key}={value}: the super-net in {config.method.supernet} was trained with "
                f"{key}={OmegaConf.select(data, name)}, and what is searched must be judged by images that it has not "
                f"seen: leave {key} out"
            )
        elif key in ("data", "experiment") and config.data.get("name") != data.get("name"):
            raise UserError(
                f"data={config.data.get('name')}: the super-net in {config.method.supernet} was trained on "
                f"data={data.get('name')}; leave data out"
            )
    with open_dict(config):
        config.data = data
        if not any(key.split(".")[0] in ("model", "architecture", "experiment") for key in given):
            config.model = theirs.model


def _resolved(folder: str | Path) -> Path:
    return Path(folder) / ".hydra" / "resolved.yaml"


def _check_fits(model: DictConfig, data: pl.LightningDataModule) -> None:
    """Raises `UserError` where an architecture is for images with another number of channels."""
    shape = model.get("input_shape")
    if shape is not None and shape[0] != data.input_shape[0]:
        raise UserError(
            f"the architecture is for images {tuple(shape)} and data {data.name} has {data.input_shape}: "
            f"give the data= that it was found on, or data.channels={shape[0]}"
        )


def model_config(config: DictConfig) -> dict[str, Any]:
    """The model config of a run as plain values: that of `architecture` if it is given, else `model`."""
    if config.architecture is not None:
        return load_architecture(config.architecture)
    missing = sorted(OmegaConf.missing_keys(config.model))
    if missing:
        raise UserError(f"model.{missing[0]} has no value: give it as model.{missing[0]}=...")
    return OmegaConf.to_container(config.model, resolve=True)


def model_name(config: DictConfig) -> str:
    """What the model is called in tables: the choice of `model`, the name that it was given, or the run folder's."""
    if config.get("method") and "members" in config.method:
        method = OmegaConf.to_container(config.method, resolve=True)
        count = len(given_members(method["members"], method.get("split")))
        return f"{count} member{'s' if count > 1 else ''}"
    supernets = config.method.get("supernets") if config.get("method") else None
    if supernets is not None:
        given = next((key for key in sorted(_given()) if key.split(".")[0] in ("model", "architecture")), None)
        if given is not None:
            raise UserError(
                f"{given} has no meaning with method={config.method.name}, whose super-nets are given by name: "
                "model@method.supernets.a=elastic_small"
            )
        if not isinstance(supernets, DictConfig):
            raise UserError(f"method.supernets={supernets!r} is not allowed; it must be model configs by name")
        return f"{len(supernets)} super-nets"
    if config.architecture is not None:
        folder, path = _origin(config), Path(config.architecture).resolve()
        return folder.name if _folder(config) == folder else f"{folder.name} {path.stem}"
    choice = HydraConfig.get().runtime.choices.model
    taken = config.get("method") and config.method.get("supernet") is not None and "model" not in _given()
    given = config.model._target_.rpartition(".")[2] if choice == "custom" or taken else None
    return config.model.get("name") or config.model.get("model_name") or given or choice


def weights_file(config: DictConfig) -> Path | None:
    """The weights to start from: `weights`, or for `test_only` those beside the architecture."""
    if config.weights is not None:
        path = Path(config.weights).expanduser()
    elif not config.test_only:
        return None
    elif config.architecture is None:
        raise UserError("test_only=true needs weights: give weights=<file>, or architecture=<run folder>")
    else:
        given = Path(config.architecture).expanduser().resolve()
        path = weights_of(given / FILE_NAME if given.is_dir() else given)
        if path.parent.name == FRONT and not path.is_file():
            raise UserError(
                f"there are no weights at {path}, nor {given.stem}.pt: the networks of a front have "
                "weights once the search has ended (method=nat, encas, encas_joint), or none (other methods); leave "
                "test_only out, or give weights=<file>"
            )
    if not path.is_file():
        raise UserError(f"there are no weights at {path.resolve()}: give weights=<file>")
    return path


def monte_carlo(config: DictConfig) -> dict[str, Any]:
    """What `Recipe` and `write_results` take of Monte-Carlo prediction: the number of draws, 0 for none, and the noise.

    The config of an older run that is resumed may lack them.
    """
    export = config.export
    return {"monte_carlo": export.get("monte_carlo", 0), "noise": export.get("monte_carlo_noise", "weights")}


def build_callbacks(*nodes: DictConfig) -> dict[str, Callback]:
    """The callbacks of one or more config nodes, in their order; a callback that is null is left out."""
    named = {name: node for group in nodes for name, node in group.items() if node is not None}
    return {name: build(node, f"callbacks.{name}") for name, node in named.items()}


def partial(node: DictConfig, what: str) -> Any:
    """An optimizer or schedule, tried, that waits for its first argument; None where its `_target_` is null."""
    if not isinstance(node, DictConfig):
        raise UserError(f"{what}={node!r} is not a node with a _target_; conf/{what.split('.')[-1]} holds the choices")
    if node.get("_target_", "") is None and not what.endswith("optimizer"):
        return None
    plain = OmegaConf.to_container(node, resolve=True)
    factory = build({**plain, "_partial_": True}, what)
    (try_optimizer if what.endswith("optimizer") else try_scheduler)(factory, plain, what)
    return factory


@contextmanager
def open_loggers(config: DictConfig, folder: Path, name: str) -> Iterator[list[Logger]]:
    """The loggers of a run, closed at its end as a success or a failure."""
    loggers = make_loggers(config.logger, folder, name, config)
    try:
        yield loggers
    except BaseException:
        with suppress(Exception):  # a full disk, say: it must not take the place of what has ended the run
            close(loggers, "failed")
        raise
    close(loggers)
