"""A pool on disk: written member by member, by several processes if need be, and read by memory maps.

    pool.json            samples, classes; of each member its name, costs, file and whether it is finished
    labels.npy           int64 (N,), those of the first member; the others' must be the same
    <file>.npy           softmax of a member, float16 (N, C)
    <file>.gap.npy       its logit gaps, float16 (N,)
    <file>.macs.npy      of a member that is a cascade: what each sample cost, float64 (N,)

A member that a process was killed in is not finished, and written again from its first row.
"""

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from src.cascades.pool import COST_FIELDS, Member, Pool, check_names, check_same_samples
from src.cascades.stored_outputs import Outputs
from src.errors import UserError
from src.whole_files import refusals_told, write_whole

INDEX = "pool.json"
_LABELS = "labels.npy"
_ENDS = ("", ".gap", ".labels")
_MACS = ".macs"


class PoolFolder:
    """Writes and reads a pool in `folder`.

    One process calls `begin`, `begin_member` and `finish_member`, all may call `write` and then `close`; between them
    the caller makes the processes wait for each other.

    Raises:
        UserError: `folder` holds something else, or is damaged.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self._open: tuple[str, list[np.ndarray]] | None = None  # the member that this process writes

    @property
    def path(self) -> Path:
        return self.folder / INDEX

    def begin(self, samples: int, classes: int, fresh: bool = False, name: str = "the next one") -> None:
        """Makes a pool without members for N samples of C classes; one that is there stays, unless it is to be fresh.

        Raises `UserError` where it is of other samples or classes than the member `name`, for which it is begun.
        """
        if self.path.is_file() and not fresh:
            there = self._index()
            if (there["samples"], there["classes"]) != (samples, classes):
                first = next((member["name"] for member in there["members"]), f"the pool {self.folder}")
                raise UserError(
                    f"member {name} has {samples} samples of {classes} classes and {first} has {there['samples']} of "
                    f"{there['classes']}: they must be the same"
                )
            return
        (self.folder / _LABELS).unlink(missing_ok=True)
        self._keep({"samples": int(samples), "classes": int(classes), "members": []})

    def finished(self, name: str) -> bool:
        """Whether the outputs of member `name` are there, all of them."""
        return self.path.is_file() and any(m["name"] == name and m["finished"] for m in self._index()["members"])

    def begin_member(self, member: Member, varying: bool = False) -> None:
        """Makes room for `member`; of one that was begun before nothing stays.

        varying: whether its samples differ in what they cost; `write` gets that then.
        """
        index = self._index()
        entries = [entry for entry in index["members"] if entry["name"] != member.name]
        taken = {entry["file"] for entry in entries}
        word = re.sub(r"[^A-Za-z0-9._-]+", "_", member.name)[:80]
        numbered = (f"{number:03d}-{word}" for number in itertools.count(len(entries)))
        file = next(name for name in numbered if name not in taken)
        samples = index["samples"]
        shapes = {"": (np.float16, (samples, index["classes"])), ".gap": (np.float16, (samples,))}
        shapes[".labels"] = (np.int64, (samples,))
        if varying:
            shapes[_MACS] = (np.float64, (samples,))
        for end, (kind, shape) in shapes.items():
            path = self.folder / f"{file}{end}.npy"
            with refusals_told(path):
                array = np.lib.format.open_memmap(path, "w+", kind, shape)
                if end == ".gap":
                    array[:] = np.nan  # no row has such a gap: what is left of it was written by nobody
                array.flush()
        costs = {key: getattr(member, key) for key in COST_FIELDS.values()}
        self._keep(index | {"members": [*entries, {"name": member.name, "file": file, "finished": False} | costs]})

    def write(self, name: str, rows: np.ndarray | slice, outputs: Outputs) -> None:
        """Writes the samples `rows` (B,) of member `name`."""
        if self._open is None or self._open[0] != name:
            self.close()
            file = self._entry(name)["file"]
            ends = _ENDS if outputs.macs is None else (*_ENDS, _MACS)
            maps = [np.load(self.folder / f"{file}{end}.npy", mmap_mode="r+") for end in ends]
            self._open = (name, maps)
        given = [outputs.softmax, outputs.gaps, outputs.labels]
        given += [] if outputs.macs is None else [outputs.macs]
        for array, values in zip(self._open[1], given, strict=True):
            if array.shape[1:] != values.shape[1:]:
                told = f"{values.shape[1]} classes, and this pool has {array.shape[1]}"
                raise UserError(f"member {name} has {told}: they must be the same")
            array[rows] = values

    def close(self) -> None:
        """Brings what this process has written to the disk."""
        if self._open is not None:
            with refusals_told(self.folder / INDEX):
                for array in self._open[1]:
                    array.flush()
            self._open = None

    def finish_member(self, name: str, costs: Mapping[str, float] | None = None) -> None:
        """Marks member `name` as finished, with those of its costs that are known only now, latency_ms say.

        Raises `UserError` where samples of it are missing, or are others than those of the first member.
        """
        index = self._index()
        entry = next(entry for entry in index["members"] if entry["name"] == name)
        missing = int(np.isnan(np.load(self.folder / f"{entry['file']}.gap.npy", mmap_mode="r")).sum())
        if missing:
            raise UserError(f"member {name}: of its outputs {missing} samples were not written")
        own = self.folder / f"{entry['file']}.labels.npy"
        if (self.folder / _LABELS).is_file():
            first = next((other["name"] for other in index["members"] if other["finished"]), "the first one")
            check_same_samples(name, np.load(own), first, self._labels())
            own.unlink()
        else:
            os.replace(own, self.folder / _LABELS)
        entry |= {"finished": True} | dict(costs or {})
        self._keep(index)

    def add(self, member: Member, outputs: Outputs) -> None:
        """Writes a whole member."""
        samples = self._index()["samples"]
        if len(outputs.labels) != samples:
            raise UserError(f"member {member.name} has {len(outputs.labels)} samples and the others have {samples}")
        self.begin_member(member)
        self.write(member.name, slice(None), outputs)
        self.close()
        self.finish_member(member.name)

    def members(self) -> list[Member]:
        """Those that are finished, in the order of writing."""
        return [_member(entry) for entry in self._index()["members"] if entry["finished"]]

    def pool(self, members: Sequence[Member] | None = None) -> Pool:
        """The pool of `members`, by their names and with what is known of them; of all where None."""
        members = self.members() if members is None else list(members)
        check_names([member.name for member in members])
        stored, outputs, gaps, macs = {m.name: m for m in self.members()}, [], [], []
        for number, member in enumerate(members):
            if member.name not in stored:
                raise UserError(f"member {member.name} is not in the pool {self.folder}, or was not finished")
            kept = {key: getattr(stored[member.name], key) for key in COST_FIELDS.values()}
            members[number] = replace(member, **kept)
            file = self._entry(member.name)["file"]
            outputs.append(self._read(f"{file}.npy", member.name))
            gaps.append(self._read(f"{file}.gap.npy", member.name))
            varies = (self.folder / f"{file}{_MACS}.npy").is_file()
            macs.append(self._read(f"{file}{_MACS}.npy", member.name) if varies else None)
        return Pool(members, self._labels(), outputs, gaps, macs)

    def _entry(self, name: str) -> dict:
        return next(entry for entry in self._index()["members"] if entry["name"] == name)

    def _labels(self) -> np.ndarray:
        return self._read(_LABELS, "labels", mapped=False)

    def _read(self, file: str, name: str, mapped: bool = True) -> np.ndarray:
        path = self.folder / file
        try:
            return np.load(path, mmap_mode="r" if mapped else None)
        except (OSError, ValueError, EOFError) as error:
            told = "there is no file" if not path.is_file() else f"damaged ({error})"
            raise UserError(f"member {name}: {path} cannot be read, {told}") from error

    def _index(self) -> dict:
        try:
            index = json.loads(self.path.read_text(encoding="utf-8"))
            return index if index["members"] is not None and index["samples"] >= 0 else None
        except OSError as error:
            raise UserError(f"{self.folder} is no pool: there is no {INDEX} in it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error

    def _keep(self, index: dict) -> None:
        write_whole(self.path, json.dumps(index, indent=1) + "\n")


def _member(entry: dict) -> Member:
    return Member(name=entry["name"], **{key: entry[key] for key in COST_FIELDS.values()})
