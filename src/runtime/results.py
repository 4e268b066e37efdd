"""What a finished run leaves in its folder and says in the terminal: table, weights, stand-alone programs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from src.errors import WriteError
from src.reporting.sparsity import write_sparsity
from src.reporting.tables import print_table, write_table_csv
from src.runtime.checkpoints import save_whole
from src.runtime.export import export_network, first_line
from src.runtime.monte_carlo_export import export_monte_carlo
from src.runtime.resume import ENDED
from src.variational.conversion import deterministic, variational_layers
from src.variational.counting import layer_sparsity

log = logging.getLogger(__name__)


def write_results(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    network: nn.Module | None,
    data,
    formats: Sequence[str],
    monte_carlo: int = 0,
    noise: str = "weights",
) -> None:
    """Prints the final table; writes the trained network and then the table: `weights.pt`, `model.*`, `comparison.csv`.

    Of a variational network `weights.pt` has its distributions, `model.*` the means of its live weights, and there are
    `sparsity.csv` and, if asked for, `model_monte_carlo.*`, after the table: what that export may do costs no result.

    Args:
        rows: as in `src.reporting.tables`.
        network: the trained network; None if none was trained.
        data: its `input_shape`, `mean` and `std` go into the exported programs.
        formats: of the exported programs, of "pt2" and "onnx".
        monte_carlo, noise: draws in a program for Monte-Carlo prediction, and of what (see `MonteCarlo`); 0: there is
            none.
    """
    print()
    print_table(rows)
    if network is not None:
        save_whole({name: value.cpu() for name, value in network.state_dict().items()}, folder / "weights.pt")
        variational, statistics = variational_layers(network), (data.input_shape, data.mean, data.std, list(formats))
        if variational:
            write_sparsity(folder / "sparsity.csv", layer_sparsity(network))
        _told(export_network, deterministic(network) if variational else network, folder, *statistics)
    write_table_csv(folder / ENDED, rows)  # a run with this file has ended
    if monte_carlo and network is None:
        log.warning(
            "export.monte_carlo=%s: no network was trained, so that there is no model_monte_carlo.*", monte_carlo
        )
    elif monte_carlo:
        if formats:
            print(f"exporting the mean prediction of {monte_carlo} draws, model_monte_carlo.*: it may take a minute")
        _told(export_monte_carlo, network, monte_carlo, folder, *statistics, noise)


def _told(export: Callable, *arguments: Any) -> None:
    """Exports; what cannot be is told and no reason to fail: the run has its result, the table and the weights."""
    try:
        export(*arguments)
    except WriteError:
        raise
    except Exception as error:  # exporters raise anything
        log.warning("%s", first_line(error))
