"""`method.members`: the trained networks that a config names.

An entry is one of

    outputs/<run folder>                               a run of this project: its architecture.yaml and weights.pt
    outputs/<run folder>/front/candidate_2.yaml        one network of its front: with candidate_2.pt beside it or,
                                                       of a cascade that method=encas has found, with weights.pt
    outputs/<run folder>/front                         all networks of a folder, each <stem>.yaml with its weights
    {name: a, model: <model config>, weights: a.pt}    any network; model may be an architecture.yaml too
    a.npz, or a folder of such files                   stored outputs, see `src.cascades.imported`
    a folder with validation/ and test/                the same, files of the same names, for search and report
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.cascades.imported import PARTS, member_files, read_header, sample_count
from src.cascades.pool import check_names
from src.errors import UserError, check_choice, check_text, check_whole
from src.runtime.architecture import FILE_NAME, FRONT, WEIGHTS, load_architecture, run_of, weights_of

_KEYS = ("name", "model", "weights", "macs", "params")


@dataclass(frozen=True)
class GivenMember:
    """A member as the config names it.

    Args:
        name: by which it is called.
        config, weights: of a network: its model config, and the file with its weights.
        run: the run folder that it is from; of a model config that of its weights, where they lie in one.
        stored: of stored outputs the file and the samples of each part, "validation" and "test".
        costs: macs and params, where they are given.
        named: whether the config gives the name.
    """

    name: str
    config: dict[str, Any] | None = None
    weights: Path | None = None
    run: Path | None = None
    stored: Mapping[str, tuple[Path, slice]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    named: bool = False


def given_members(entries: Any, split: int | None = None) -> list[GivenMember]:
    """The members that `method.members` names, in their order.

    split: how many leading samples of flat stored outputs are for the search; the rest is for the report.

    Raises:
        UserError: an entry that is none of the kinds above, what it names is not there, it is given twice, or two
            members of one name.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise UserError(f"method.members={entries!r} is not allowed; it must be a list of run folders, models or files")
    if not entries:
        raise UserError("method.members is empty: give run folders, as method.members=[outputs/<run>,outputs/<run>]")
    if split is not None:
        check_whole("method.split", split, 1)
    members: list[GivenMember] = []
    seen: dict[Path, int] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            members.append(_from_mapping(f"method.members[{number}]", entry))
            continue
        path = Path(check_text(f"method.members[{number}]", entry)).expanduser()
        before = seen.setdefault(path.resolve(), number)
        if before != number:
            raise UserError(f"{entry} is given twice: method.members[{before}] and [{number}]")
        if (path / FILE_NAME).is_file() or (path / ".hydra").is_dir():
            members.append(_from_run(path))
        elif path.suffix == ".yaml" and path.is_file():
            members.append(_from_file(path))
        elif _holds_networks(path):
            members += [_from_file(file) for file in sorted(path.glob("*.yaml"), key=_in_numbers)]
        elif not path.exists():
            raise UserError(f"method.members[{number}]={entry}: there is no such run folder, file or pool")
        else:
            members += _stored(path, split)
    members = _named_apart(members)
    check_names([member.name for member in members])
    if split is not None and not any(slice(None) != rows for m in members for _, rows in m.stored.values()):
        raise UserError("method.split is for stored outputs in one set: leave it out")
    return members


def _from_mapping(where: str, entry: Mapping[str, Any]) -> GivenMember:
    for key in entry:
        check_choice(f"a key of {where}", str(key), _KEYS)
    missing = next((key for key in _KEYS[:3] if entry.get(key) is None), None)
    if missing is not None:
        raise UserError(f"{where} has no {missing}: a network is given as {{name: ..., model: ..., weights: ...}}")
    name, config = check_text(f"{where}.name", entry["name"]), entry["model"]
    if not isinstance(config, Mapping):
        config = load_architecture(Path(check_text(f"{where}.model", config)).expanduser())
    costs = {key: entry[key] for key in _KEYS[3:] if entry.get(key) is not None}
    weights = _weights(name, Path(check_text(f"{where}.weights", entry["weights"])))
    return GivenMember(name, dict(config), weights, run_of(weights.parent), costs=costs, named=True)


def _from_run(folder: Path) -> GivenMember:
    return GivenMember(
        folder.resolve().name, load_architecture(folder), _weights(str(folder), folder / WEIGHTS), folder
    )


def _from_file(path: Path) -> GivenMember:
    folder, weights = path.resolve().parent, weights_of(path)
    if folder.name != FRONT and weights.name == WEIGHTS:
        raise UserError(
            f"{path} is no member: there is no {path.stem}.pt beside it; give the run folder, a file in its {FRONT}/, "
            "or {name: ..., model: ..., weights: ...}"
        )
    if not weights.is_file():
        raise UserError(
            f"member {path}: there are no weights for it, neither {path.stem}.pt nor {WEIGHTS} lies beside it; the "
            "networks of a front have weights where the search has trained them (method=nat, encas)"
        )
    run = run_of(folder) or (folder.parent if folder.name == FRONT else None)
    return GivenMember(f"{(run or folder).name}/{path.stem}", load_architecture(path), weights, run)


def _holds_networks(path: Path) -> bool:
    """Whether it is a folder of networks; that of a multirun has YAML files too, and no weights."""
    weights = path.resolve().name == FRONT or any(path.glob("*.pt"))
    return path.is_dir() and any(path.glob("*.yaml")) and weights


def _in_numbers(path: Path) -> list:
    """A key that sorts candidate_2 before candidate_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _weights(name: str, path: Path) -> Path:
    path = path.expanduser()
    if not path.is_file():
        raise UserError(f"member {name}: there are no weights at {path}")
    return path


def _stored(path: Path, split: int | None) -> list[GivenMember]:
    """The members of one file, or of a folder."""
    parts = [path / part for part in PARTS]
    if not path.is_file() and any(part.is_dir() for part in parts):
        return _in_two_parts(*parts)
    files = member_files(path)
    if split is None:
        raise UserError(
            f"{path} holds its samples in one set: give method.split, how many of the first are for the search, or "
            f"two folders in it, {PARTS[0]} and {PARTS[1]}"
        )
    for file in files:
        count = sample_count(file)
        if split >= count > 0:
            raise UserError(
                f"method.split={split} is not allowed: {file} has {count} samples, and one at least must be left for "
                "the report"
            )
    rows = dict(zip(PARTS, (slice(None, split), slice(split, None)), strict=True))
    return [GivenMember(read_header(file).name, stored={part: (file, rows[part]) for part in PARTS}) for file in files]


def _in_two_parts(validation: Path, test: Path) -> list[GivenMember]:
    members = []
    for file in member_files(validation):
        header, other = read_header(file), test / file.name
        name = header.name
        if not other.is_file():
            raise UserError(f"member {name}: its test outputs are missing, there is no file {other}")
        theirs = read_header(other)
        if theirs.name != name:
            raise UserError(f"member {name} is called {theirs.name} in {other}")
        if theirs.macs != header.macs:
            raise UserError(
                f"member {name} has {header.macs:,.0f} MACs in {file} and {theirs.macs:,.0f} in {other}: it must "
                "be the same network"
            )
        whole = slice(None)
        members.append(GivenMember(name, stored={PARTS[0]: (file, whole), PARTS[1]: (other, whole)}))
    return members


def _named_apart(members: list[GivenMember]) -> list[GivenMember]:
    """Runs of one folder name get as much of their path as tells them apart: jobs of two multiruns are all 0, 1, 2."""
    given = {member.name for member in members if member.named}
    runs = {member.run.resolve() for member in members if member.run is not None and not member.named}
    names = {run: _told_apart(run, runs, given) for run in runs}
    return [
        replace(member, name=names[member.run.resolve()] + member.name.removeprefix(member.run.resolve().name))
        if member.run is not None and not member.named
        else member
        for member in members
    ]


def _told_apart(run: Path, runs: set[Path], taken: set[str]) -> str:
    """The shortest end of the path of `run` that no other run has, and no member of a given name."""
    for depth in range(1, len(run.parts)):
        end = run.parts[-depth:]
        if sum(other.parts[-depth:] == end for other in runs) == 1 and "/".join(end) not in taken:
            return "/".join(end)
    return run.name
