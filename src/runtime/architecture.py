"""`architecture.yaml`: a found architecture as a model config, `_target_` plus plain arguments."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src.errors import UserError, did_you_mean
from src.runtime.mistakes import config_sentence
from src.whole_files import written_whole

FILE_NAME = "architecture.yaml"
FRONT = "front"  # the folder, in that of a run, with an architecture for each member of the Pareto front
WEIGHTS = "weights.pt"
RESOLVED = Path(".hydra") / "resolved.yaml"


def save_architecture(path: str | os.PathLike, config: Mapping | DictConfig) -> None:
    """Writes the model config `config` to `path` as plain YAML, whole or not at all.

    Raises:
        TypeError: a value is no plain value (number, string, boolean, None, list, mapping with string keys).
        ValueError: `config` has no `_target_`.
    """
    if isinstance(config, DictConfig):
        config = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    plain = _plain(config, "architecture")
    if "_target_" not in plain:
        raise ValueError("an architecture needs a _target_")
    # OmegaConf writes what it reads back: PyYAML alone would let the string "1e5" come back as a number.
    text = OmegaConf.to_yaml(OmegaConf.create(plain))
    with written_whole(path) as temporary:
        given = Path(path).parent if Path(path).name == FILE_NAME else path
        temporary.write_text(f"# python train.py architecture={given}\n{text}", encoding="utf-8")


def load_architecture(path_or_run_folder: str | os.PathLike) -> dict[str, Any]:
    """The model config in an `architecture.yaml`, given the file or the run folder that holds it, as a plain dict.

    Raises:
        UserError: there is no such file, the run folder has none, or its content is no model config.
    """
    path = Path(path_or_run_folder)
    if path.is_dir():
        path = _in_run_folder(path)
    if not path.is_file():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = did_you_mean(path.name, siblings)
        hint = f"; {near}" if near.startswith("did you mean") else ""
        raise UserError(f"architecture={path_or_run_folder}: there is no such file or run folder{hint}")
    try:
        config = OmegaConf.load(path)
        config = OmegaConf.to_container(config, resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} is not readable as a model config: {config_sentence(error)}") from error
    except (UnicodeDecodeError, OSError) as error:  # OmegaConf refuses a plain value with an OSError of its own
        reason = "it is not a text file" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None)
        raise UserError(f"{path} is not readable as a model config: {reason or 'it is not a mapping'}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a model config: it is a {type(config).__name__}, not a mapping with a _target_")
    if "_target_" not in config:
        keys = ", ".join(map(str, config)) or "nothing"
        raise UserError(f"{path} is not a model config: it has no _target_, only {keys}")
    return config


def weights_of(architecture: Path) -> Path:
    """The file with the weights of an architecture file, which need not be there.

    `<stem>.pt` beside `<stem>.yaml` if there is one; else the folder's `weights.pt`, which is that of the found network
    in a run folder, and of the members of all cascades in a front.
    """
    own = architecture.with_suffix(".pt")
    return own if own.is_file() else architecture.parent / WEIGHTS


def run_of(folder: Path) -> Path | None:
    """The run folder that a folder is, or is a part of as its front; None where it is from elsewhere."""
    folder = folder.resolve()
    return next((place for place in (folder, folder.parent) if (place / RESOLVED).is_file()), None)


def _in_run_folder(folder: Path) -> Path:
    """The architecture file of the run in `folder`."""
    path = folder / FILE_NAME
    if path.is_file():
        return path
    runs = sorted(found.parent.name for found in folder.glob(f"*/{FILE_NAME}"))
    if runs:
        raise UserError(f"{folder} holds several runs: give one of them, e.g. architecture={folder / runs[0]}")
    if (folder / ".hydra").is_dir():
        if (folder / "comparison.csv").is_file():  # which is written last
            raise UserError(
                f"the run in {folder} has ended without an {FILE_NAME}: what it found cannot be run as one network, "
                "such as cascades of stored outputs or greedy ones, or it was no search"
            )
        raise UserError(f"the run in {folder} has no {FILE_NAME}: the search did not finish, or it was no search")
    raise UserError(f"{folder} is not a run folder: it has no {FILE_NAME}")


def _plain(value: Any, where: str) -> Any:
    """`value` with tuples as lists, checked to be plain all the way down."""
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise TypeError(f"{where}: the key {odd[0]!r} is not a string")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}, not a plain value: {value!r}")
