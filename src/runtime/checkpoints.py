"""What a run keeps on disk of its own state: written whole, checked when it is read, and told apart from other runs'.

A run has parts: the search or the training itself ("last"), and after a search each final training ("base-0", ...). Of
the part under way there is a checkpoint, of a part that has ended its result; both lie in `<run folder>/checkpoints`.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from src.errors import UserError
from src.runtime.ranks.agreement import world_size
from src.whole_files import written_whole

MAIN = "last"  # the part that the command is about; its checkpoint is last.ckpt
FOLDER = "checkpoints"
_REMEDY = "put the right file there, or remove it to begin this part again"


class CheckpointError(UserError):
    """A file that a run has kept of itself cannot be used."""


def part_name(prefix: str) -> str:
    """The part of a run whose metrics have names that begin with `prefix`."""
    return prefix.rstrip("/").replace("/", "-") or MAIN


def save_whole(values: Any, path: str | os.PathLike) -> None:
    """Like `torch.save`, but whole or not at all; raises `WriteError` that names the file where it cannot be written.

    torch's own writer turns what the operating system says into a RuntimeError; so the bytes are made in memory first.
    """
    buffer = io.BytesIO()
    torch.save(values, buffer)
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_checked(path: str | os.PathLike) -> Any:
    """Like `torch.load` onto the CPU, of tensors and plain values only, after every byte of them was checked.

    torch does not look at the checksums in its files: a weight with a flipped bit would be loaded without a word.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it holds something else than tensors and plain values.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        values = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # one wrong byte can make zipfile and torch raise nearly anything
        if isinstance(error, MemoryError):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        told = f"{path} is damaged or was not written by this project ({first[:200]}): {_REMEDY}"
        raise CheckpointError(told) from error
    if damaged:
        raise CheckpointError(f"{path} is damaged, a checksum in it is wrong: {_REMEDY}")
    return values


class RunCheckpointIO(TorchCheckpointIO):
    """How Lightning writes and reads the checkpoints of one part of a run.

    Args:
        run: identifies the run (a hash of its config); a checkpoint of another one is refused.
        part: see `part_name`.
    """

    def __init__(self, run: str, part: str) -> None:
        self.run, self.part = run, part

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options: Any = None) -> None:
        origin = {"run": self.run, "part": self.part, "ranks": world_size()}
        save_whole({**checkpoint, "origin": origin}, path)

    def load_checkpoint(self, path, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint at `path`; raises `CheckpointError` where it is damaged or not of this run and part."""
        checkpoint = load_checked(path)
        origin = checkpoint.get("origin") if isinstance(checkpoint, Mapping) else None
        if not isinstance(origin, Mapping) or {"run", "part", "ranks"} - set(origin):
            raise CheckpointError(f"{path} was not written by a run of this project")
        if (origin["run"], origin["part"]) != (self.run, self.part):
            raise CheckpointError(f"{path} belongs to another run: it has other settings than this run folder")
        if origin["ranks"] != world_size():
            rank_zero_warn(
                f"the checkpoint was written by {origin['ranks']} processes and {world_size()} go on: "
                "the search continues, with other batches than the uninterrupted run would have had"
            )
        return checkpoint


class RunState:
    """The checkpoints and results of the parts of one run.

    Args:
        folder: the run folder.
        run: identifies the run, as in `RunCheckpointIO`.
        resumed: whether to go on from what is there; False ignores it.
    """

    def __init__(self, folder: str | os.PathLike, run: str, resumed: bool = False) -> None:
        self.folder, self.run, self.resumed = Path(folder) / FOLDER, run, resumed

    def __repr__(self) -> str:
        return f"RunState({str(self.folder.parent)!r}, {self.run!r}, resumed={self.resumed})"

    def checkpoint_io(self, part: str = MAIN) -> RunCheckpointIO:
        return RunCheckpointIO(self.run, part)

    def checkpoint(self, part: str = MAIN) -> Path | None:
        """The checkpoint from which `part` goes on; None where it begins."""
        path = self.folder / f"{part}.ckpt"
        return path if self.resumed and path.is_file() else None

    def result(self, part: str) -> dict[str, Any] | None:
        """What `keep_result` kept of `part` in an earlier process of this run; None where it has not ended there."""
        path = self.folder / f"{part}.result"
        if not self.resumed or not path.is_file():
            return None
        kept = load_checked(path)
        if not isinstance(kept, Mapping) or kept.get("run") != self.run or "values" not in kept:
            raise CheckpointError(f"{path} belongs to another run: it has other settings than this run folder")
        return dict(kept["values"])

    def keep_result(self, part: str, values: Mapping[str, Any]) -> None:
        """Keeps plain values and tensors of a part that has ended; those of a final training replace its checkpoint."""
        save_whole({"run": self.run, "values": dict(values)}, self.folder / f"{part}.result")
        if part != MAIN:
            (self.folder / f"{part}.ckpt").unlink(missing_ok=True)

    def forget_results(self) -> None:
        """Removes the results of the parts, once the run has written its own."""
        for path in self.folder.glob("*.result"):
            path.unlink(missing_ok=True)
