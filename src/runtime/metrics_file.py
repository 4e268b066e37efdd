"""`metrics.csv`: a Lightning logger with one row per step, that goes on where an earlier process stopped.

Lightning's own CSVLogger deletes the file of an earlier process, and writes the training and the validation metrics of
an epoch as two rows.
"""

import csv
import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from src.whole_files import refusals_told, written_whole

FILE_NAME = "metrics.csv"


class MetricsFile(Logger):
    """Writes `<folder>/metrics.csv`: `step`, `epoch`, and the metrics in the order of their first appearance.

    The file is complete after each call. Metrics of the same step join one row unless they contradict it; what was not
    logged at a step is empty; a metric that was not seen before gives the file one more column.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__()
        self._path = Path(folder) / FILE_NAME
        self._columns: list[str] = []  # of the file, once it was opened
        self._last: dict[str, Any] = {}  # the last row, which may still grow
        self._last_at = 0  # where it begins in the file, in bytes

    def __repr__(self) -> str:
        return f"MetricsFile({str(self._path.parent)!r})"

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `.hydra/config.yaml` beside the file holds the settings."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Writes the metrics of `step`; tensors of one element become numbers."""
        row = {"step": step, "epoch": metrics.get("epoch")} | {key: _number(value) for key, value in metrics.items()}
        if not self._columns:
            self._take_up()
        if self._last and all(self._last.get(key, value) == value for key, value in row.items()):
            row = self._last | row
        else:
            self._last_at = self._path.stat().st_size if self._path.is_file() else 0
        new = [key for key in row if key not in self._columns]
        if new:
            self._rewrite([*self._columns, *new], row)
        else:
            self._replace_last(_lines(self._columns, [row]))
        self._last = row

    @rank_zero_only
    def take_back(self, step: int, prefix: str, last: Mapping[str, Any]) -> None:
        """Takes out the rows from `step` on that hold metrics whose names begin with `prefix`.

        A process that was killed may have logged more than its last checkpoint holds; the resumed one logs it again. Or
        less: Lightning saves before it logs what an epoch gave. `last` are the metrics of the step before.
        """
        self._take_up()
        if not self._columns:
            return
        text = self._path.read_text(encoding="utf-8", errors="replace")
        # a row that is none (two processes have written at once, say) is left out: a log must not prevent a resume
        rows = [row for row in csv.DictReader(io.StringIO(text)) if _is_row(row)]
        kept = [row for row in rows if int(row["step"] or 0) < step or not _holds(row, prefix)]
        if kept and int(kept[-1]["step"] or 0) == step - 1:
            kept[-1] |= {name: value for name, value in last.items() if not kept[-1].get(name)}
            self._columns += [name for name in kept[-1] if name not in self._columns]
        with written_whole(self._path) as temporary:
            temporary.write_bytes(_lines(self._columns, [{name: name for name in self._columns}, *kept]))
        self._last = {}

    def _replace_last(self, line: bytes) -> None:
        """Puts `line` where the last row begins; where that fails the file stays as it was."""
        with refusals_told(self._path), open(self._path, "r+b", buffering=0) as file:
            file.seek(self._last_at)
            earlier = file.read()
            try:
                file.seek(self._last_at)
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.seek(self._last_at)
                file.write(earlier)
                file.truncate()
                raise

    def _take_up(self) -> None:
        """Reads the columns that an earlier process wrote, and cuts off a row that it left half-written."""
        if not self._path.is_file():
            return
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._path, len(whole))
        self._columns = next(csv.reader(whole.decode().splitlines()[:1]), [])

    def _rewrite(self, columns: list[str], row: dict[str, Any]) -> None:
        """Writes the file again with more columns and with `row` for the last row."""
        earlier = self._path.read_bytes()[: self._last_at].decode() if self._path.is_file() else ""
        head = _lines(columns, [{name: name for name in columns}, *csv.DictReader(io.StringIO(earlier))])
        with written_whole(self._path) as temporary:
            temporary.write_bytes(head + _lines(columns, [row]))
        self._columns, self._last_at = columns, len(head)


def _lines(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _is_row(row: dict[str, str]) -> bool:
    return None not in row and None not in row.values() and (row["step"] or "0").isdigit()


def _holds(row: dict[str, str], prefix: str) -> bool:
    return any(value and name not in ("step", "epoch") and name.startswith(prefix) for name, value in row.items())


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
