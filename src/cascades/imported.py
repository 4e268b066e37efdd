"""Pools from outside: a `.npz` file a member, with labels, logits or softmax, and what one answer costs.

    np.savez("resnet20.npz", labels=labels, logits=logits, macs=40.8e6)        labels (N,), logits (N, C)

More keys: `softmax` in place of logits, `params`, `latency_ms`, `name`. A folder of such files is a pool.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from src.cascades.pool import Member, Pool, check_names, check_same_samples
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
        try:
            labels, values = arrays["labels"], arrays[given[0]]
        except _UNREADABLE as error:
            raise UserError(f"{path} is damaged: {error}") from error
        return convert(name, labels, values)


def imported_pool(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> Pool:
    """The pool of one or more `.npz` files, or folders of them, in memory.

    Raises:
        UserError: a file that is missing or damaged, a cost that is missing or not positive, outputs that are no
            probabilities, or members that disagree on samples or classes: in one sentence that names the member.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [file for path in paths for file in member_files(path)]
    if not files:
        raise UserError("the pool is empty: a cascade needs one member at least")
    members = [read_header(file) for file in files]
    check_names([member.name for member in members])
    outputs: list[Outputs] = []
    for member, file in zip(members, files, strict=True):
        outputs.append(read_outputs(file, member.name))
        check_agree(member.name, outputs[-1], members[0].name, outputs[0])
    return Pool(members, outputs[0].labels, [o.softmax for o in outputs], [o.gaps for o in outputs])


def pool_of_logits(members: Sequence[Member], labels: np.ndarray, logits: Sequence[np.ndarray]) -> Pool:
    """The pool of `members` from their logits (N, C), checked as those of files are."""
    outputs = [outputs_of_logits(member.name, labels, own) for member, own in zip(members, logits, strict=True)]
    for member, own in zip(members, outputs, strict=True):
        check_agree(member.name, own, members[0].name, outputs[0])
    return Pool(members, labels, [o.softmax for o in outputs], [o.gaps for o in outputs])


def check_agree(name: str, outputs: Outputs, first: str, expected: Outputs) -> None:
    """Raises `UserError` where member `name` has other samples or another number of classes than member `first`."""
    check_same_samples(name, outputs.labels, first, expected.labels)
    classes = (outputs.softmax.shape[1], expected.softmax.shape[1])
    if classes[0] != classes[1]:
        raise UserError(f"member {name} has {classes[0]} classes and {first} has {classes[1]}: they must be the same")


_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)


def _opened(path: str | os.PathLike):
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    try:
        arrays = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an {SUFFIX} file: {str(error).splitlines()[0]}") from error
    if not isinstance(arrays, np.lib.npyio.NpzFile):
        raise UserError(f"{path} is no {SUFFIX} file: it holds one array, and labels, outputs and macs are needed")
    return arrays


def _member(path: Path, arrays) -> Member:
    odd = next((key for key in arrays if key not in _KEYS), None)
    if odd is not None:
        raise UserError(f"{path} has the key {odd}, which is not known; {did_you_mean(odd, _KEYS)}")
    if "macs" not in arrays:
        raise UserError(f"{path} has no macs: the cost of one answer, a number above 0, must be in it")
    scalars = {key: _scalar(path, key, arrays[key]) for key in _SCALARS if key in arrays}
    name = str(arrays["name"].item()) if "name" in arrays and arrays["name"].size == 1 else path.stem
    return Member(name=name, **scalars)


def _scalar(path: Path, key: str, value: np.ndarray) -> float:
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} must be one number, not {value.dtype} {value.shape}")
    return float(value.item())
