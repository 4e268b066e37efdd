"""What a finished run leaves in its folder and says in the terminal: table, weights, stand-alone programs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from src.errors import UserError, WriteError
from src.reporting.tables import print_table, write_table_csv
from src.runtime.checkpoints import save_whole
from src.runtime.export import export_network
from src.runtime.resume import ENDED

log = logging.getLogger(__name__)


def write_results(
    folder: Path, rows: Sequence[Mapping[str, Any]], network: nn.Module | None, data, formats: Sequence[str]
) -> None:
    """Prints the final table; writes the trained network and then the table: `weights.pt`, `model.*`, `comparison.csv`.

    Args:
        rows: as in `src.reporting.tables`.
        network: the trained network; None if none was trained.
        data: its `input_shape`, `mean` and `std` go into the exported programs.
        formats: of the exported programs, of "pt2" and "onnx".
    """
    print()
    print_table(rows)
    if network is not None:
        save_whole({name: value.cpu() for name, value in network.state_dict().items()}, folder / "weights.pt")
        try:
            export_network(network, folder, data.input_shape, data.mean, data.std, list(formats))
        except WriteError:
            raise
        except UserError as error:  # the run has its result: the table and the weights
            log.warning("%s", error)
    write_table_csv(folder / ENDED, rows)  # last: a run with this file has nothing left to do
