"""Pools from outside: a `.npz` file a member, with labels, logits or softmax, and what one answer costs.

    np.savez("resnet20.npz", labels=labels, logits=logits, macs=40.8e6)        labels (N,), logits (N, C)

More keys: `softmax` in place of logits, `params`, `latency_ms`, `name`. A folder of such files is a pool.
"""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.cascades.pool import Member, check_same_samples
from src.cascades.stored_outputs import Outputs, outputs_of_logits, outputs_of_softmax
from src.errors import UserError, did_you_mean

_SCALARS = ("macs", "params", "latency_ms")
_KEYS = ("labels", "logits", "softmax", "name", *_SCALARS)
SUFFIX = ".npz"
PARTS = ("validation", "test")


def member_files(path: str | os.PathLike) -> list[Path]:
    """The `.npz` files of a pool, sorted: of a folder all in it, of a file that one; raises `UserError` for none."""
    path = Path(path)
    if path.is_file() and path.suffix == SUFFIX:
        return [path]
    if not path.is_dir():
        raise UserError(f"there is no file or folder {path}: members are {SUFFIX} files, or folders of them")
    found = sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        raise UserError(f"the pool {path} is empty: there is no {SUFFIX} file in it")
    return found


def read_header(path: str | os.PathLike) -> Member:
    """The member that a file is of, without its outputs."""
    with _opened(path) as arrays:
        return _member(Path(path), arrays)


def read_outputs(path: str | os.PathLike, name: str | None = None) -> Outputs:
    """What a file holds of its member, checked; raises `UserError` that names file or member and what is wrong.

    name: by which messages call it; by default the file's.
    """
    name = name or str(path)
    with _opened(path) as arrays:
        given = [key for key in ("logits", "softmax") if key in arrays]
        if "labels" not in arrays or len(given) != 1:
            raise UserError(f"{path} must have labels and either logits or softmax; it has {', '.join(arrays)}")
        convert = outputs_of_logits if given == ["logits"] else outputs_of_softmax
        return convert(name, _array(path, arrays, "labels"), _array(path, arrays, given[0]))


def sample_count(path: str | os.PathLike) -> int:
    """N, the labels of a file."""
    with _opened(path) as arrays:
        return _array(path, arrays, "labels").size if "labels" in arrays else 0


def check_stored(stored: Mapping[str, Mapping[str, tuple[Path, slice]]]) -> None:
    """Reads the whole files of all members, one after the other, so that nothing is told only after a search.

    stored: of each member, by its name, the file and the samples of each part, "validation" and "test".

    Raises:
        UserError: outputs that are no probabilities, members that disagree on samples, their order or classes, or one
            that gives the same outputs as validation and as test: in one sentence that names the member.
    """
    first, known = "", {}
    for name, parts in stored.items():
        paths = list(dict.fromkeys(path for path, _ in parts.values()))
        files = {path: read_outputs(path, name) for path in paths}
        if len(files) == 2 and _same(*files.values()):
            raise UserError(f"member {name}: its test outputs are its validation outputs, in {paths[0]} and {paths[1]}")
        own = {part: files[path].part(rows) for part, (path, rows) in parts.items()}
        if len(files) == 1:  # whole, lest another order look like other labels in a part of it
            own = {"": files[paths[0]], **own}
        told = {"": name} | {part: f"{name} ({part})" for part in PARTS}
        for part, outputs in own.items():
            if part in known:
                check_agree(told[part], outputs, first, known[part])
        if not known:
            # Of the first one its labels and number of classes are kept, and not what it says of every sample.
            first, known = name, {part: _without_samples(outputs) for part, outputs in own.items()}


def check_agree(name: str, outputs: Outputs, first: str, expected: Outputs) -> None:
    """Raises `UserError` where member `name` has other samples or another number of classes than member `first`."""
    check_same_samples(name, outputs.labels, first, expected.labels)
    classes = (outputs.softmax.shape[1], expected.softmax.shape[1])
    if classes[0] != classes[1]:
        raise UserError(f"member {name} has {classes[0]} classes and {first} has {classes[1]}: they must be the same")


def _same(one: Outputs, other: Outputs) -> bool:
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.softmax, other.softmax)


def _without_samples(outputs: Outputs) -> Outputs:
    return Outputs(outputs.labels.copy(), outputs.softmax[:0].copy(), outputs.gaps[:0].copy())


_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)


def _opened(path: str | os.PathLike):
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    try:
        arrays = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        # numpy takes any file that it does not know for a pickle, and tells how to allow those
        raise UserError(f"{path} cannot be read as an {SUFFIX} file: it is damaged, or of another kind") from error
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise UserError(f"{path} is no {SUFFIX} file: it holds one array, and labels, outputs and macs are needed")
    return arrays


def _array(path: str | os.PathLike, arrays, key: str) -> np.ndarray:
    try:
        return arrays[key]
    except ValueError as error:
        raise UserError(f"{path}: {key} is damaged, or holds Python objects; it must be an array of numbers") from error
    except _UNREADABLE as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _member(path: Path, arrays) -> Member:
    odd = next((key for key in arrays if key not in _KEYS), None)
    if odd is not None:
        raise UserError(f"{path} has the key {odd}, which is not known; {did_you_mean(odd, _KEYS)}")
    if "macs" not in arrays:
        raise UserError(f"{path} has no macs: the cost of one answer, a number above 0, must be in it")
    scalars = {key: _scalar(path, key, _array(path, arrays, key)) for key in _SCALARS if key in arrays}
    called = _array(path, arrays, "name") if "name" in arrays else np.empty(0)
    name = str(called.item()) if called.size == 1 else path.stem
    return Member(name=name, **scalars)


def _scalar(path: Path, key: str, value: np.ndarray) -> float:
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} must be one number, not {value.dtype} {value.shape}")
    return float(value.item())
