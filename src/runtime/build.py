"""Builds objects from config nodes (`_target_` plus plain arguments), with every mistake told in one sentence.

Hydra's `instantiate` does the building. The names are looked up before it runs, so that a target or an argument that is
not there is answered with the nearest one that is; what a constructor raises is told with the constructor's own words.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from src.errors import UserError, check_choice, check_flag, did_you_mean
from src.runtime.mistakes import config_sentence, one_line
from src.runtime.targets import locate, model_names, parameters, wrong_kind

_HYDRA_KEYS = {"_target_", "_args_", "_partial_", "_recursive_", "_convert_"}
_CONVERSIONS = ("none", "partial", "object", "all")
_OURS = ("src.", "callbacks.")


def build(node: Mapping | DictConfig, what: str, /, **kwargs: Any) -> Any:
    """Calls the `_target_` of `node` with its arguments; nested nodes that have a `_target_` are built first.

    Args:
        node: a mapping of plain values. Nested containers reach the constructor as plain dicts and lists, unless
            `_convert_` says otherwise; with `_partial_: true` the result is a callable that waits for its arguments.
        what: what is built, for the messages, e.g. "model".
        kwargs: further arguments (tensors, modules, anything), which win over those of the node.

    Raises:
        UserError: `node` is no mapping with a `_target_`, the target cannot be imported, an argument is unknown or
            missing, or the constructor refuses a value. A `UserError` of the constructor passes unchanged.
    """
    plain = _plain(node, what)
    _check(plain, what, given=set(kwargs))
    partial = plain.get("_partial_", False)
    try:
        factory = instantiate({"_convert_": "all", **plain, "_partial_": True})
        return functools.partial(factory, **kwargs) if partial else factory(**kwargs)
    except Exception as error:
        raise _explained(error, what, plain["_target_"]) from error


def network_from(config: Mapping | DictConfig) -> nn.Module:
    """The network that a model config describes, such as the content of `architecture.yaml`.

    Raises:
        UserError: as `build`, or what was built is not a `torch.nn.Module`.
    """
    network = build(config, "model")
    if not isinstance(network, nn.Module):
        raise UserError(f"model: {config['_target_']} gives a {type(network).__name__}, not a torch.nn.Module")
    return network


def _plain(node: Mapping | DictConfig, what: str) -> dict:
    """`node` as plain containers, with every interpolation resolved."""
    if isinstance(node, DictConfig):
        try:
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{what}: {config_sentence(error)}") from error
    if not isinstance(node, Mapping):
        raise UserError(f"{what} must be a mapping with a _target_, not {node!r}")
    return dict(node)


def _check(node: Mapping, what: str, given: set[str] = frozenset()) -> None:
    """Raises `UserError` for a target or an argument, here or in a nested node, that is not there or is missing."""
    target = node.get("_target_")
    if not isinstance(target, str):
        raise UserError(f"{what} has no _target_: name the class or function to call, e.g. _target_: my_package.MyNet")
    called = locate(target, what)
    names, required, open_ended = parameters(called)
    arguments = {str(key) for key in node if key not in _HYDRA_KEYS} | given
    if names is not None:
        unknown = sorted(arguments - names)
        if unknown and not open_ended:
            raise UserError(f"{what}: {target} has no argument '{unknown[0]}'; {did_you_mean(unknown[0], names)}")
        missing = [name for name in required if name not in arguments]
        if missing and not node.get("_partial_") and not node.get("_args_"):
            raise UserError(f"{what}: {target} needs the argument '{missing[0]}': give it as {what}.{missing[0]}=...")
    if not target.startswith(_OURS):  # ours check their values themselves, and tell them by the names of the config
        for key, value in node.items():
            wanted = wrong_kind(called, str(key), value)
            if wanted and not (isinstance(value, Mapping) and "_target_" in value):
                raise UserError(f"{what}.{key}={value!r} is not allowed; it must be {wanted}")
    check_choice(f"{what}._convert_", node.get("_convert_", "none"), _CONVERSIONS)
    check_flag(f"{what}._recursive_", node.get("_recursive_", True))
    check_flag(f"{what}._partial_", node.get("_partial_", False))
    if node.get("_recursive_", True):
        for key, value in node.items():
            _check_nested(value, f"{what}.{key}")


def _check_nested(value: Any, what: str) -> None:
    if isinstance(value, Mapping):
        if "_target_" in value:
            _check(value, what)
        else:
            for key, item in value.items():
                _check_nested(item, f"{what}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_nested(item, f"{what}[{index}]")


def _explained(error: Exception, what: str, target: str) -> Exception:
    """The error to raise in place of `error`: a `UserError`, or `error` itself where it is a defect of ours."""
    while isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        named = re.search(r"call to target '([^']+)'", str(error))
        target = named[1] if named else target
        error = error.__cause__
    if isinstance(error, (UserError, MemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return error
    if isinstance(error, InstantiationException):
        return UserError(f"{what}: {one_line(str(error))}")
    text = str(error)
    unexpected = re.search(r"(?:(\S+)\(\) )?got an unexpected keyword argument '([^']+)'", text)
    if isinstance(error, TypeError) and unexpected:
        names = _parameters_behind(error, unexpected[1] or "") | (parameters(locate(target, what))[0] or set())
        return UserError(f"{what}: {target} has no argument '{unexpected[2]}'; {did_you_mean(unexpected[2], names)}")
    unknown = re.search(r"unknown model:?\s*\(?'?([\w./-]+)", text, re.IGNORECASE)
    names = model_names(target) if unknown else []
    if names:
        return UserError(f"{what}: {target} knows no model '{unknown[1]}'; {_nearest_names(unknown[1], names)}")
    if target.startswith(_OURS) and not isinstance(error, (TypeError, ValueError)):
        return error
    return UserError(f"{what}: {target} cannot be built: {_words(error)}")


def _parameters_behind(error: TypeError, function: str) -> set[str]:
    """The parameters of `function`, a qualified name that the message gives, as seen from where it was called.

    A function with `**kwargs` hands them on, so that its own signature does not say what is allowed.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not function:
        return set()
    owner = function.split(".")[0]
    frame = trace.tb_frame
    behind = [value for value in frame.f_locals.values() if getattr(value, "__qualname__", None) == owner]
    behind.append(frame.f_globals.get(owner))
    return set().union(*(parameters(value)[0] or set() for value in behind if callable(value)))


def _nearest_names(given: str, names: list[str]) -> str:
    nearest = did_you_mean(given, names)
    return nearest if nearest.startswith("did you mean") else f"there are {len(names)}, {names[0]} among them"


def _words(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
