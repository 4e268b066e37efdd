"""Checks of the settings that the commands read themselves: wrong kinds of values are told before anything is built.

What belongs to a node with a `_target_` is checked by its constructor, and what belongs to the trainer in
`trainer_options`.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from src.errors import UserError, check_choice, check_flag, check_text, check_whole
from src.runtime.export import FORMATS
from src.runtime.trainer_options import check_user_options
from src.variational.layers import NOISES

_GREATEST_SEED = 2**32 - 1  # NumPy's


def check_settings(config: DictConfig) -> None:
    """Raises `UserError` for the first of them that has no possible value."""
    check_whole("seed", config.seed, 0, _GREATEST_SEED)
    for name, least in (("epochs", 1), ("retrain.epochs", 0), ("retrain.repeats", 1)):
        value = OmegaConf.select(config, name, default=_ABSENT)
        if value is not _ABSENT:
            check_whole(name, value, least)
    for name in ("architecture", "weights", "resume"):
        if config.get(name) is not None:
            check_text(name, config[name])
    if "test_only" in config:
        check_flag("test_only", config.test_only)
    if "method" in config:
        check_text("method.name", config.method.name)
    nodes = ("method", "method.callbacks", "callbacks", "logger", "trainer", "export", "retrain", "retrain.callbacks")
    for name in (*nodes, "pipeline"):
        _check_mapping(name, OmegaConf.select(config, name, default=_ABSENT))
    if "method" in config:
        for key in _read_by(OmegaConf.to_container(config.method, resolve=False)):
            _check_reachable(config, key)
    formats = config.export.formats
    if not isinstance(formats, ListConfig):
        raise UserError(f"export.formats={formats!r} is not allowed; it must be a list, such as [{', '.join(FORMATS)}]")
    for name in formats:
        check_choice("export.formats", name, FORMATS)
    check_whole("export.monte_carlo", config.export.get("monte_carlo", 0), 0, 1000)
    check_choice("export.monte_carlo_noise", config.export.get("monte_carlo_noise", "weights"), NOISES)
    check_user_options(OmegaConf.to_container(config.trainer, resolve=True))


_ABSENT = object()


def _read_by(value: Any) -> Iterator[str]:
    """The keys below `method` that the interpolations in a plain value read, such as method.arch.lr."""
    if isinstance(value, str):
        yield from re.findall(r"\$\{(method\.[\w.]+)\}", value)
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _read_by(inner)


def _check_reachable(config: DictConfig, key: str) -> None:
    """Raises `UserError` where a node on the way to `key` is none, or the last does not have it.

    OmegaConf would tell the key that reads it, which is not the one that the user has set.
    """
    node, path = config, ""
    for name in key.split("."):
        if path:
            _check_mapping(path, node)
        path = f"{path}.{name}" if path else name
        if name not in node:
            raise UserError(f"{path} is missing; conf/ shows what method={config.method.name} needs")
        node = node[name]


def _check_mapping(name: str, value: Any) -> None:
    if value is not _ABSENT and not isinstance(value, DictConfig):
        raise UserError(f"{name}={value!r} is not allowed; it must be a node of settings, as in conf/")
