"""From the config to what a run works with: its folder, data, model config, callbacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from src.errors import UserError
from src.runtime.architecture import load_architecture
from src.runtime.build import build
from src.runtime.loggers import close, make_loggers
from src.runtime.seeds import seed_everything
from src.runtime.trainer import threads_for


def run_folder(config: DictConfig) -> Path:
    """The folder that Hydra has made for this run; seeds the process and keeps the resolved config in the folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    seed_everything(config.seed)
    return folder


def prepared_data(config: DictConfig) -> pl.LightningDataModule:
    """The data of `config.data`, read; what it knows of itself is written into the config: for model, task, threads.

    The config is complete then, and `.hydra/resolved.yaml` keeps it.
    """
    data = build(config.data, "data")
    data.prepare_data()
    data.setup()
    with open_dict(config):
        config.data.num_classes = data.num_classes
        config.data.channels = data.input_shape[0]
        if config.trainer.threads is None:
            config.trainer.threads = threads_for(data.batch_size, data.input_shape)
    OmegaConf.save(config, Path(HydraConfig.get().runtime.output_dir) / ".hydra" / "resolved.yaml", resolve=True)
    return data


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
    if config.architecture is not None:
        path = Path(config.architecture).expanduser().resolve()
        return path.name if path.is_dir() else path.parent.name
    given = [config.model.get(key) for key in ("name", "model_name")]
    return next(filter(None, given), None) or HydraConfig.get().runtime.choices.model


def weights_file(config: DictConfig) -> Path | None:
    """The weights to start from: `weights`, or for `test_only` those beside the architecture."""
    if config.weights is not None:
        path = Path(config.weights).expanduser()
    elif not config.test_only:
        return None
    elif config.architecture is None:
        raise UserError("test_only=true needs weights: give weights=<file>, or architecture=<run folder>")
    else:
        path = Path(config.architecture).expanduser()
        path = (path if path.is_dir() else path.parent) / "weights.pt"
    if not path.is_file():
        raise UserError(f"there are no weights at {path.resolve()}: give weights=<file>")
    return path


def build_callbacks(*nodes: DictConfig) -> dict[str, Callback]:
    """The callbacks of one or more config nodes, in their order; a callback that is null is left out."""
    named = {name: node for group in nodes for name, node in group.items() if node is not None}
    return {name: build(node, f"callbacks.{name}") for name, node in named.items()}


def partial(node: DictConfig | None, what: str) -> Any:
    """An optimizer or schedule that waits for its first argument; None for null."""
    if node is None:
        return None
    return build({**OmegaConf.to_container(node, resolve=True), "_partial_": True}, what)


@contextmanager
def open_loggers(config: DictConfig, folder: Path, name: str) -> Iterator[list[Logger]]:
    """The loggers of a run, closed at its end as a success or a failure."""
    loggers = make_loggers(config.logger, folder, name, config)
    try:
        yield loggers
    except BaseException:
        close(loggers, "failed")
        raise
    close(loggers)
