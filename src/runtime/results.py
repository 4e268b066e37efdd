"""What a finished run leaves in its folder and says in the terminal: table, weights, stand-alone programs."""

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.errors import UserError, WriteError
from src.reporting.tables import print_table, write_table_csv
from src.runtime.export import export_network
from src.whole_files import written_whole

log = logging.getLogger(__name__)


def write_results(
    folder: Path, rows: Sequence[Mapping[str, Any]], network: nn.Module | None, data, formats: Sequence[str]
) -> None:
    """Prints the final table, writes it, and the network with its weights: `comparison.csv`, `weights.pt`, `model.*`.

    Args:
        rows: as in `src.reporting.tables`.
        network: the trained network; None if none was trained.
        data: its `input_shape`, `mean` and `std` go into the exported programs.
        formats: of the exported programs, of "pt2" and "onnx".
    """
    print()
    print_table(rows)
    write_table_csv(folder / "comparison.csv", rows)
    if network is not None:
        with written_whole(folder / "weights.pt") as path:
            content = io.BytesIO()  # torch's own writer ends the process where the disk is full
            torch.save({name: value.cpu() for name, value in network.state_dict().items()}, content)
            path.write_bytes(content.getbuffer())
        try:
            export_network(network, folder, data.input_shape, data.mean, data.std, list(formats))
        except WriteError:
            raise
        except UserError as error:  # the run has its result: the table and the weights
            log.warning("%s", error)
