"""The Lightning Trainer of a run, from the `trainer` node of the config (`conf/trainer`).

Four of its options are not Lightning's: `compile` and `channels_last` belong to the network and are read by the
LightningModule, `threads` sets the number of CPU threads of the process, `timeout_s` bounds the wait for other ranks.
"""

import logging
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelSummary, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import CheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from src.errors import UserError
from src.runtime.mistakes import one_line
from src.runtime.ranks.stopping import StopTogether, stop_together
from src.runtime.ranks.strategy import RanksStrategy
from src.runtime.trainer_options import MODULE_OPTIONS, check_trainer_options

_PROCESSES_A_CORE = 4  # on the CPU; more wait for each other most of the time
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
    checkpoint_io: CheckpointIO | None = None,
    unused_parameters: bool = False,
    **overrides: Any,
) -> pl.Trainer:
    """A Trainer with the options of `config`, of which `overrides` take the place.

    Progress bar, model summary and checkpoints are there only if a callback for them is, or the config asks for them.

    Args:
        checkpoint_io: how checkpoints are written and read; None: as Lightning does.
        unused_parameters: whether a step may leave parameters without a gradient; DDP has to know.

    Raises:
        UserError: an option that Lightning does not have, or a value or a device that it refuses.
    """
    options = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    options |= overrides
    check_trainer_options(options)
    for name in MODULE_OPTIONS:
        options.pop(name, None)
    _set_threads(options.pop("threads", None))
    _choose_strategy(options, unused_parameters)
    plugins = [checkpoint_io] if checkpoint_io is not None else []
    if SLURMEnvironment.detect():  # Lightning would put the same command into the queue again, which begins a new run
        plugins.append(SLURMEnvironment(auto_requeue=False))
    options["plugins"] = [*(options.get("plugins") or []), *plugins] or None
    options.setdefault("enable_progress_bar", any(isinstance(c, ProgressBar) for c in callbacks))
    options.setdefault("enable_model_summary", any(isinstance(c, ModelSummary) for c in callbacks))
    options.setdefault("enable_checkpointing", any(isinstance(c, Checkpoint) for c in callbacks))
    quieten()
    try:
        trainer = pl.Trainer(callbacks=[*callbacks, StopTogether()], logger=list(loggers) or False, **options)
    except UserError:
        raise
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {_device_sentence(options) or one_line(error)}") from error
    if options.get("sync_batchnorm") and trainer.strategy.root_device.type == "cpu":
        raise UserError("trainer.sync_batchnorm=true needs GPUs: torch has no synchronised batch norm for the CPU")
    stop_together(trainer)
    return trainer


def _choose_strategy(options: dict[str, Any], unused_parameters: bool) -> None:
    """Puts our DDP in the place of "ddp", and of "auto" where several processes work; other strategies pass."""
    timeout_s = options.pop("timeout_s", 600)
    _take_launched(options)
    _check_processes(options)
    strategy = options.get("strategy", "auto")
    if strategy == "ddp" or (strategy == "auto" and _several_processes(options)):
        options["strategy"] = RanksStrategy(timeout_s, unused_parameters)


def _take_launched(options: dict[str, Any]) -> None:
    """Under torchrun, its own numbers of nodes and processes: it has started them, whatever the config says."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        options |= {"devices": local, "num_nodes": world // local}


def _check_processes(options: dict[str, Any]) -> None:
    """Raises `UserError` for nodes that nobody starts, and for far more processes on the CPU than it has cores."""
    nodes, devices = options.get("num_nodes", 1), str(options.get("devices", "auto"))
    started = {"MASTER_ADDR", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & set(os.environ)
    if nodes not in (1, "1") and not started:
        raise UserError(f"trainer.num_nodes={nodes} needs torchrun or srun, which start the processes on every node")
    on_cpu = options.get("accelerator") == "cpu" or torch.cuda.device_count() == 0
    most = _PROCESSES_A_CORE * (os.cpu_count() or 1)
    if on_cpu and devices.isdigit() and int(devices) > most:
        raise UserError(f"trainer.devices={devices} asks for more processes than this machine can bear: at most {most}")


def _several_processes(options: dict[str, Any]) -> bool:
    if options.get("num_nodes", 1) not in (1, "1"):
        return True
    devices, accelerator = options.get("devices", "auto"), str(options.get("accelerator", "auto"))
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices) > 1
    if str(devices) in ("auto", "-1"):
        return accelerator in ("auto", "gpu", "cuda") and torch.cuda.device_count() > 1
    return str(devices).isdigit() and int(devices) > 1


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
