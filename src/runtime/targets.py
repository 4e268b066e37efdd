"""What a `_target_` names: the object, its parameters, and the nearest names where it is not there."""

import importlib
import inspect
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from src.errors import UserError, did_you_mean
from src.runtime.mistakes import one_line

_PLAIN = {"bool": bool, "int": int, "float": float, "str": str}  # annotations of modules that keep them as text
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def locate(target: str, what: str) -> Callable:
    """The callable with the dotted path `target`.

    Raises:
        UserError: a module or an attribute on the path is missing (told with the nearest names), a module fails while
            it is imported, or the object cannot be called.
    """
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise UserError(f"{what}: _target_ {target!r} is not a dotted path such as my_package.MyNet")
    found: Any = _imported(parts[0], target, what)
    if found is None:
        near = did_you_mean(parts[0], [module.name for module in pkgutil.iter_modules()])
        hint = near if near.startswith("did you mean") else "is it installed, or in the folder where you started?"
        raise UserError(f"{what}: _target_ {target}: there is no module '{parts[0]}'; {hint}")
    for index, part in enumerate(parts[1:], start=1):
        inside = found
        found = getattr(inside, part, None)
        if found is None and isinstance(inside, ModuleType):
            found = _imported(".".join(parts[: index + 1]), target, what)
        if found is None:
            owner = ".".join(parts[:index])
            near = did_you_mean(part, _names_in(inside, modules=index < len(parts) - 1))
            hint = f"; {near}" if near.startswith("did you mean") else ""
            raise UserError(f"{what}: _target_ {target}: there is no '{part}' in {owner}{hint}")
    if not callable(found):
        raise UserError(f"{what}: _target_ {target} is a {type(found).__name__}, which cannot be called")
    return found


def parameters(called: Callable) -> tuple[set[str] | None, list[str], bool]:
    """The parameters of `called`: all names, those without a default, and whether it takes any other (`**kwargs`).

    The names are None where Python cannot tell, as for some functions written in C.
    """
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        return None, [], True
    every = signature.parameters.values()
    named = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p.name for p in named if p.default is p.empty]
    return {p.name for p in named}, required, any(p.kind == p.VAR_KEYWORD for p in every)


def wrong_kind(called: Callable, name: str, value: Any) -> str | None:
    """What the parameter `name` of `called` must be, where `value` is of another kind; else None.

    Judged by the annotation, where it is made of bool, int, float and str alone, or by a boolean default: Python would
    take the string "no" for true.
    """
    try:
        parameter = inspect.signature(called).parameters[name]
    except (KeyError, TypeError, ValueError):
        return None
    annotation = parameter.annotation
    annotation = _PLAIN.get(annotation, annotation) if isinstance(annotation, str) else annotation
    if annotation is parameter.empty and isinstance(parameter.default, bool):
        annotation = bool
    try:
        kinds = set(get_args(annotation) or (annotation,))
        kinds = {str if kind in (Path, os.PathLike) else kind for kind in kinds}
    except TypeError:  # an annotation may be any object
        return None
    if value is None and parameter.default in (None, parameter.empty):  # an annotation often forgets the None
        return None
    if type(value) in kinds or (type(value) is int and float in kinds):
        return None
    if kinds <= {bool, int, float, str, type(None)}:
        return " or ".join(words for kind, words in _WORDS.items() if kind in kinds)
    if float in kinds and isinstance(value, (bool, str)):  # float | Tensor
        return _WORDS[float]
    return None


def model_names(target: str) -> list[str]:
    """The names that the model factory `target` knows, for timm's and torchvision's; empty for any other target."""
    package, _, function = target.partition(".")
    if package == "timm" and function.endswith("create_model"):
        return importlib.import_module("timm").list_models()
    if package == "torchvision" and function.endswith("get_model"):
        return importlib.import_module("torchvision").models.list_models()
    return []


def _imported(name: str, target: str, what: str) -> ModuleType | None:
    """The module `name`; None if there is none."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise UserError(f"{what}: _target_ {target}: importing {name} fails, {one_line(error)}") from error
    except Exception as error:  # whatever a user's own module does while it is imported
        words = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{what}: _target_ {target}: importing {name} fails, {words}") from error


def _names_in(owner: Any, modules: bool) -> list[str]:
    """The public names in a module or a class: the modules in it or, for the end of a path, everything but those."""
    names = [name for name in dir(owner) if not name.startswith("_")]
    if not modules:
        return [name for name in names if not isinstance(getattr(owner, name, None), ModuleType)]
    if isinstance(owner, ModuleType) and hasattr(owner, "__path__"):
        names += [module.name for module in pkgutil.iter_modules(owner.__path__)]
    return names
