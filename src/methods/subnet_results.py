"""What found networks come to on the test part with the weights of the search: table, `front_test.csv`."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
from torch import nn

from src.methods.cascade_testing import check_cascade, measured_macs
from src.methods.final_training import TRUST, Recipe, TrainedNetwork, compare, table_row
from src.methods.front_test import FrontTest
from src.methods.kept_network import KeptNetwork
from src.networks.cascade import Cascade
from src.reporting import quantities
from src.reporting.hypervolume import hypervolume
from src.whole_files import write_whole

if TYPE_CHECKING:
    from src.methods.subnet_evolution import SubnetEvolution


class SubnetResults:
    """Of a search that has ended, with the weights of its front in the run folder.

    Args:
        module: its `kept_networks()` are the one to compare with and the front.
        recipe: makes trainers; by it networks are trained from scratch, if that is asked for.
        data: of the run.
    """

    def __init__(self, module: "SubnetEvolution", recipe: Recipe, data: pl.LightningDataModule) -> None:
        self.module, self.recipe, self.data = module, recipe, data
        self.base, *self.front = module.kept_networks()
        self.found = next(kept for kept in self.front if kept.candidate == module.chosen())
        self.errors: dict[str, float] = {}
        self.tested: dict[str, dict[str, float]] = {}
        self.macs: dict[str, float] = {}  # of cascades, on average over the test images

    def rows(
        self, name: str, loggers, progress, from_scratch: bool = False
    ) -> tuple[list[dict[str, Any]], nn.Module | None]:
        """The rows of the final table and the found network; on other ranks than the first no rows."""
        networks = {kept.name: kept.network() for kept in (self.base, *self.front)}
        callbacks = [callback for key, callback in progress().items() if key == "search_progress"]
        trainer = self.recipe.trainer(callbacks, list(loggers), None, max_epochs=1)
        passes = FrontTest(networks, self.module.task)
        trainer.validate(passes, datamodule=self.data, verbose=False)
        cascades = {key: network for key, network in networks.items() if isinstance(network, Cascade)}
        for network in cascades.values():
            check_cascade(self.module.task, True)
            network.reset_counts()
        trainer.test(passes, datamodule=self.data, verbose=False)
        self.macs = {key: measured_macs(network, self.data.input_shape) for key, network in cascades.items()}
        self.errors, self.tested = passes.errors, passes.tested
        found = self._run(self.found, networks, trainer)
        base = self._run(self.base, networks, trainer)
        rows = [table_row(f"base {name}", self.base.config, self.data.input_shape, [base])]
        if from_scratch and self.recipe.epochs:
            named = {"base-scratch": self.base.config, "found-scratch": self.found.config}
            more, trained = compare(self.recipe, named, self.data, self.module.seed, loggers, progress)
            rows += more
            best = trained["found-scratch"]
            network = best.network if best.val_error < found.val_error else found.network
        else:
            network = found.network
        rows.append(table_row("found", self.found.config, self.data.input_shape, [found]))
        if not trainer.is_global_zero:
            return [], None
        self._write(Path(self.module.run_folder) / "front_test.csv")
        return rows, network

    def _run(self, kept: KeptNetwork, networks: Mapping[str, nn.Module], trainer: pl.Trainer) -> TrainedNetwork:
        values = self.tested[kept.name]
        trust = {key: values[key] for key in TRUST if key in values}
        figures = (self.errors[kept.name], values["error"], math.nan, trainer.is_global_zero)
        return TrainedNetwork(networks[kept.name], *figures, macs=self.macs.get(kept.name), trust=trust)

    def points_on_test(self) -> list[tuple[float, float]]:
        """Error and MACs of the front on test."""
        return [(self.tested[k.name]["error"], self.macs.get(k.name, k.candidate.macs)) for k in self.front]

    def told(self) -> str:
        count, reference = len(self.front), self.module.reference()
        on_test = hypervolume(np.array(self.points_on_test()).reshape(-1, 2), reference)
        return (
            f"{count} on the front (front_test.csv), hypervolume {self.module.front_volume():.4f} on validation and "
            f"{on_test:.4f} on test, up to {quantities.percent(reference[0])} % and {quantities.amount(reference[1])} "
            "MACs"
        )

    def _write(self, path: Path) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "val_error", "val_macs", "test_error", "test_macs", "params"))
        for kept, (error, macs) in zip(self.front, self.points_on_test(), strict=True):
            own = kept.candidate
            writer.writerow((own.id, f"{own.error:.4f}", own.macs, f"{error:.4f}", round(macs), own.params))
        write_whole(path, text.getvalue())
