"""`sparsity.csv`: how many weights of each layer are left."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from src.whole_files import write_whole


def write_sparsity(path: str | os.PathLike, layers: Sequence[tuple[str, int, int]]) -> Path:
    """Writes (layer, weights, non-zero weights) of each layer, with the share that is not zero."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("layer", "weights", "nonzero", "share"))
    writer.writerows((name, size, live, round(live / max(size, 1), 6)) for name, size, live in layers)
    return write_whole(path, text.getvalue())
