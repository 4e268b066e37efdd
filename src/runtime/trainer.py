"""The Lightning Trainer of a run, from the `trainer` node of the config (`conf/trainer`).

Three of its options are not Lightning's: `compile` and `channels_last` belong to the network and are read by the
LightningModule, `threads` sets the number of CPU threads of the process.
"""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelSummary, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from src.errors import UserError
from src.runtime.mistakes import one_line
from src.runtime.trainer_options import MODULE_OPTIONS, check_trainer_options

SMALL_BATCH = 2**15  # positions (images x height x width) under which a second thread is not worth it

# What Lightning prints on every run and tells the user nothing about it: the beginnings of log lines and of warnings.
_SILENT_LINES = (
    "GPU available: ",
    "TPU available: ",
    "HPU available: ",
    "💡 Tip: ",
    "Loading `train_dataloader` to estimate",
    "Using bfloat16 Automatic Mixed Precision",
    "Using 16bit Automatic Mixed Precision",
    "`Trainer.fit` stopped: `max_",
    "LOCAL_RANK: ",
    "Initializing distributed: GLOBAL_RANK: ",
    "-" * 100 + "\ndistributed_backend=",
    "You are using a CUDA device",
)
_SILENT_WARNINGS = (
    r".*does not have many workers which may be a bottleneck",
    r"Consider setting `persistent_workers=True`",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r"Checkpoint directory .* exists and is not empty",
    r"The `srun` command is available on your system but is not used",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"GPU available but not used",
)
_SILENT_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.rank_zero",
)


def make_trainer(
    config: Mapping | DictConfig,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    **overrides: Any,
) -> pl.Trainer:
    """A Trainer with the options of `config`, of which `overrides` take the place.

    Progress bar, model summary and checkpoints are there only if a callback for them is, or the config asks for them.

    Raises:
        UserError: an option that Lightning does not have, or a value or a device that it refuses.
    """
    options = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    options |= overrides
    check_trainer_options(options)
    for name in MODULE_OPTIONS:
        options.pop(name, None)
    _set_threads(options.pop("threads", None))
    options.setdefault("enable_progress_bar", any(isinstance(c, ProgressBar) for c in callbacks))
    options.setdefault("enable_model_summary", any(isinstance(c, ModelSummary) for c in callbacks))
    options.setdefault("enable_checkpointing", any(isinstance(c, Checkpoint) for c in callbacks))
    quieten()
    try:
        trainer = pl.Trainer(callbacks=list(callbacks), logger=list(loggers) or False, **options)
        _check_multirun(trainer)
        return trainer
    except UserError:
        raise
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {_device_sentence(options) or one_line(error)}") from error


def _check_multirun(trainer: pl.Trainer) -> None:
    """Raises `UserError` for a multirun whose jobs use several processes: each would start the whole sweep again."""
    several = trainer.num_devices * trainer.num_nodes > 1
    if several and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("a multirun (-m) uses one device a job so far: give trainer.devices=1, or run the jobs singly")


def quieten() -> None:
    """Silences Lightning's adverts and its remarks on what cannot be otherwise here; every other message stays."""
    for name in _SILENT_LOGGERS:
        logger = logging.getLogger(name)
        if _is_wanted not in logger.filters:
            logger.addFilter(_is_wanted)
    for message in _SILENT_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_SILENT_LINES)


def threads_for(batch_size: int, input_shape: Sequence[int]) -> int | None:
    """CPU threads for batches of images (C, H, W): one where they are small, None (what torch chooses) otherwise.

    A step on 64 images of 8 x 8 takes 14 ms with one thread and 12 ms with two, but 100 times as long with two when
    another process wants a core: the threads wait for each other at each of hundreds of small operations. The rule
    looks at sizes alone and measures nothing, so that one seed gives one result.
    """
    _, height, width = input_shape
    return 1 if batch_size * height * width < SMALL_BATCH else None


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def _device_sentence(options: dict[str, Any]) -> str | None:
    """A device that is asked for and is not there, the commonest mistake, in words of ours."""
    accelerator, devices = str(options.get("accelerator", "auto")), options.get("devices", "auto")
    there = torch.cuda.device_count()
    if accelerator in ("gpu", "cuda") and there == 0 and not torch.backends.mps.is_available():
        return "there is no GPU that torch can use: give trainer=auto or trainer=cpu"
    asked = devices if isinstance(devices, int) else int(devices) if re.fullmatch(r"\d+", str(devices)) else None
    if accelerator in ("gpu", "cuda", "auto") and asked is not None and 0 < there < asked:
        return f"devices={asked} asks for more GPUs than there are: {there}"
    return None
