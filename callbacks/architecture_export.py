"""Writes the architecture that a search has found as `architecture.yaml` into the run folder, and those of the front.

When to use: in every search. The files are written once, at the end of a search that has ended by itself: a run folder
with an `architecture.yaml` holds a result, one without does not. Each member of the Pareto front lies in
`front/candidate_<id>.yaml`, and can be trained, or searched on, as the found one (a cascade is not trained but
tested, `test_only=true`, with the weights that `method=encas` keeps there). What has no model config, a
cascade of stored outputs say, is left out.
"""

import os

import pytorch_lightning as pl

from src.errors import check_text
from src.reporting.candidates import OBJECTIVES, pareto_front
from src.runtime.architecture import FRONT, save_architecture
from src.whole_files import output_folder


class ArchitectureExport(pl.Callback):
    """Args: folder: the run folder."""

    def __init__(self, folder: str) -> None:
        self.folder = check_text("callbacks.architecture_export.folder", folder)

    def __repr__(self) -> str:
        return f"ArchitectureExport(folder={self.folder!r})"

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for candidate in pareto_front(pl_module.candidates, getattr(pl_module, "objectives", None) or OBJECTIVES):
            config = pl_module.candidate_config(candidate)
            if config is not None:
                path = os.path.join(output_folder(os.path.join(self.folder, FRONT)), f"candidate_{candidate.id}.yaml")
                save_architecture(path, config)
        config = pl_module.architecture()
        if config is not None:
            save_architecture(os.path.join(self.folder, "architecture.yaml"), config)
