"""Which options of `conf/trainer` there are and what they may be: Lightning looks at few of them before it trains."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from src.errors import UserError, check_choice, check_range, check_whole, did_you_mean
from src.runtime.targets import wrong_kind

MODULE_OPTIONS = ("compile", "channels_last")  # read by the LightningModule
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")

# The least value of options that are numbers; null is allowed wherever Lightning allows it.
_LEAST = {
    "num_nodes": 1,
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "max_steps": -1,
    "num_sanity_val_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
}
_MOST = 2**16  # devices, nodes, threads: more is a slip, and takes all memory before anyone says so
_NOT_NULL = ("num_nodes", "accumulate_grad_batches", "accelerator", "strategy", "devices", "detect_anomaly")
_BATCHES = ("limit_train_batches", "limit_val_batches")
# What the command decides by itself or by other settings: a value here would have no effect, or spoil the result.
_LENGTH = "give epochs, retrain.epochs or what the method has for it"
_ELSEWHERE = {
    "max_epochs": _LENGTH,
    "max_steps": _LENGTH,
    "max_time": _LENGTH,
    "check_val_every_n_epoch": "every epoch is validated",
    "fast_dev_run": "give debug=default",
    "barebones": "give logger=none",
    "enable_progress_bar": "give callbacks.search_progress=null",
    "enable_checkpointing": "give callbacks.run_checkpoint=null",
    "default_root_dir": "give hydra.run.dir",
}


def check_user_options(options: Mapping[str, Any]) -> None:
    """As `check_trainer_options`, of what the user gives: some options are for the command alone to set."""
    for name, instead in _ELSEWHERE.items():
        if name in options:
            raise UserError(f"trainer.{name} cannot be set here: {instead}")
    check_trainer_options(options)


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Raises `UserError` for an option that is not there, or a value that it cannot have."""
    allowed = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self", "callbacks", "logger"}
    allowed |= {*MODULE_OPTIONS, "threads", "timeout_s"}
    for name, value in options.items():
        if name not in allowed:
            raise UserError(f"trainer has no option '{name}'; {did_you_mean(name, allowed)}")
        _check_kind(name, value)
        if name in _LEAST and value is not None:
            check_range(f"trainer.{name}", value, _LEAST[name], _MOST if name == "num_nodes" else None)
    for name in _BATCHES:
        _check_batches(name, options.get(name))
    if options.get("limit_test_batches") is not None:  # no share: of how many is known at the test, after all training
        check_whole("trainer.limit_test_batches", options["limit_test_batches"], 1)
    _check_threads(options.get("threads"))
    check_range("trainer.timeout_s", options.get("timeout_s", 600), 1, 10**6)
    precision = options.get("precision")
    if precision is not None:
        # Lightning also knows short forms, 32 and bf16 and the like; one name for one thing is enough.
        check_choice("trainer.precision", str(precision), PRECISIONS)
    deterministic = options.get("deterministic")
    if not (deterministic is None or isinstance(deterministic, bool) or deterministic == "warn"):
        raise UserError(f"trainer.deterministic={options['deterministic']!r} must be true, false or warn")
    for name in ("accelerator", "strategy"):
        if name in options and not isinstance(options[name], (str, pl.strategies.Strategy)):
            raise UserError(f"trainer.{name}={options[name]!r} is not allowed; it must be a name, such as auto")
    _check_devices(options.get("devices", "auto"))


def _check_kind(name: str, value: Any) -> None:
    if name in MODULE_OPTIONS:
        wanted = None if isinstance(value, bool) else "true or false"
    else:
        wanted = wrong_kind(pl.Trainer.__init__, name, value)
    if value is None and name in _NOT_NULL:
        wanted = "given or left out"
    if wanted:
        raise UserError(f"trainer.{name}={value!r} is not allowed; it must be {wanted}")


def _check_batches(name: str, value: Any) -> None:
    """A share of the batches above 0 or a number of them; none at all would leave nothing to train or to compare by."""
    share = isinstance(value, float) and 0 < value <= 1
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (value is None or share or number):
        raise UserError(
            f"trainer.{name}={value!r} is not allowed; it must be a number of batches, at least 1, a share of them "
            "(0.1), more than 0 and at most 1.0, or null for all"
        )


def _check_threads(threads: Any) -> None:
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= _MOST):
        raise UserError(f"trainer.threads={threads!r} must be a whole number, at least 1, or null to leave it")


def _check_devices(devices: Any) -> None:
    """A number of devices, -1 or "auto" for all, or a list of their indices, which may be text: "0,1"."""
    if isinstance(devices, str):
        right = devices == "auto" or re.fullmatch(r"-1|\d+(,\s*\d*)*", devices) is not None
    elif isinstance(devices, (list, tuple)):
        right = len(devices) > 0 and all(type(index) is int and index >= 0 for index in devices)
        right = right and len(set(devices)) == len(devices)
    else:
        right = type(devices) is int and (devices == -1 or 1 <= devices <= _MOST)
    if not right:
        raise UserError(
            f"trainer.devices={devices!r} is not allowed; it must be a number of devices, at least 1, a list of "
            "indices such as [0,2], or auto for all"
        )
