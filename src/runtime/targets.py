"""What a `_target_` names: the object, its parameters, and the nearest names where it is not there."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from src.errors import UserError, did_you_mean
from src.runtime.mistakes import one_line


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
