"""The names in a config, and the nearest of them to a mistyped one."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import is_slip


def known_keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of `config` as a dotted path, nodes as well as leaves."""
    keys = []
    for name in config:
        full = f"{prefix}{name}"
        keys.append(full)
        if OmegaConf.is_missing(config, name) or OmegaConf.is_interpolation(config, name):
            continue
        if OmegaConf.is_dict(config[name]) and config[name] is not None:
            keys += known_keys(config[name], f"{full}.")
    return keys


def missing_keys(config: DictConfig, prefix: str = "") -> list[str]:
    """The keys whose value is `???`, as dotted paths; interpolations are not followed."""
    keys = []
    for name in config:
        if OmegaConf.is_missing(config, name):
            keys.append(f"{prefix}{name}")
        elif not OmegaConf.is_interpolation(config, name) and OmegaConf.is_dict(config[name]):
            keys += missing_keys(config[name], f"{prefix}{name}.")
    return keys


def look_up_all(config: DictConfig | ListConfig) -> None:
    """Reads every value, so that an interpolation that does not resolve raises OmegaConf's error, with its key."""
    for name in config if OmegaConf.is_dict(config) else range(len(config)):
        if OmegaConf.is_missing(config, name):
            continue
        value = config[name]
        if OmegaConf.is_config(value) and not OmegaConf.is_interpolation(config, name):
            look_up_all(value)


def children_of(config: DictConfig, key: str) -> list[str]:
    """The names under the deepest node on the way to `key` that exists, as dotted paths."""
    parts = key.split(".")[:-1]
    while parts:
        try:
            node = OmegaConf.select(config, ".".join(parts))
        except OmegaConfBaseException:  # a plain value on the way has no keys
            node = None
        if OmegaConf.is_dict(node):
            return [f"{'.'.join(parts)}.{name}" for name in node]
        parts.pop()
    return [str(name) for name in config if name != "hydra"]


def copied_node(config: DictConfig, key: str) -> tuple[str, str] | None:
    """The node on the way to `key` that is nothing but another node's copy, and that other one; None if there is none.

    >>> copied_node(OmegaConf.create({"a": {"lr": 1}, "b": "${a}"}), "b.lr")
    ('b', 'a')
    """
    parts, node = key.split("."), config
    for index, name in enumerate(parts[:-1]):
        if not OmegaConf.is_dict(node) or name not in node or OmegaConf.is_missing(node, name):
            return None
        if OmegaConf.is_interpolation(node, name):
            copied = re.fullmatch(r"\$\{([\w.]+)\}", str(OmegaConf.to_container(node)[name]))
            return (".".join(parts[: index + 1]), copied[1]) if copied else None
        node = node[name]
    return None


def nearest_keys(given: str, keys: Iterable[str], most: int = 3) -> list[str]:
    """The keys that `given` was probably meant to be, best first; none where nothing is near.

    First come those that one slip of the hand makes into `given`. Else the last part of a path counts most, so that
    `dleta=1` finds `method.delta`: a user who knows the setting often does not know where it lives. Where a parent is
    given, the one with the nearest parent comes first; of equals the one that lies least deep.
    """
    leaf, parent = _split(given)
    slips = sorted((key for key in set(keys) if is_slip(given, key)), key=lambda key: (len(key) != len(given), key))
    if parent and slips:
        return slips[:most]
    scored = []
    for key in set(keys) - set(slips):
        key_leaf, key_parent = _split(key)
        leaf_ratio = _ratio(leaf, key_leaf)
        if leaf_ratio >= 0.65:
            scored.append((leaf_ratio + (0.5 * _ratio(parent, key_parent) if parent else 0.0), key))
    scored.sort(key=lambda pair: (-pair[0], pair[1].count("."), pair[1]))
    near = [key for score, key in scored if score >= scored[0][0] - 0.15]
    return [*slips, *near][:most]


def _split(key: str) -> tuple[str, str]:
    parent, _, leaf = key.rpartition(".")
    return leaf, parent


def _ratio(first: str, second: str) -> float:
    if is_slip(first, second):
        return 0.95
    return SequenceMatcher(None, first, second).ratio()
