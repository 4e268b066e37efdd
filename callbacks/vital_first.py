"""Leads a search through its stages: vital blocks, then the rest, then the pick (HourNAS, arXiv 2005.14446).

When to use: with `method=hournas`. Cost: after each epoch a pass over calibration images for the validation's network;
at the end, where the pick goes by error, one such pass and a validation for each sample, shared by all processes.
"""

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from callbacks.space_proposal import SpaceProposal
from src.errors import UserError
from src.methods.hournas import HourNAS
from src.methods.hournas_stages import VITAL
from src.reporting.operation_figures import probabilities_figure
from src.runtime.ranks.sharding import sharded_map
from src.runtime.seeds import keyed_seed


class VitalFirst(pl.Callback):
    """After each epoch the architecture that the search stands at is a candidate; after the last, one is chosen."""

    def __init__(self) -> None:
        self._history: list[Tensor] = []  # probabilities (L, O) after each epoch

    def __repr__(self) -> str:
        return "VitalFirst()"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not isinstance(pl_module, HourNAS):
            raise UserError(f"VitalFirst needs method=hournas, not {type(pl_module).__name__}")
        if stage == "fit":
            self._module = pl_module

    def on_fit_start(self, trainer: pl.Trainer, pl_module: HourNAS) -> None:
        pl_module.budget.complete(pl_module.device)
        self._propose(pl_module)

    def _propose(self, pl_module: HourNAS) -> None:
        """Proposals for a stage that has the whole network, unless a resumed run has them."""
        if pl_module.proposals is None and pl_module.stage.name != VITAL and pl_module.sampler != "feasible":
            seed = keyed_seed(pl_module.seed, "proposals")
            proposals = pl_module.callback(SpaceProposal).proposals_for(
                pl_module.open_costs(), pl_module.targets, seed, pl_module.space.operations
            )
            pl_module.proposals = proposals if len(proposals) else None
            if pl_module.proposals is None and not pl_module.learns:
                raise UserError(
                    "method.sampler=proposal draws from proposals: method.proposal.proposals must be above 0"
                )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: HourNAS) -> None:
        """Records where the search stands; at the end of a stage begins the next one, or picks."""
        error, loss = (float(trainer.callback_metrics.get(f"val/{name}", math.nan)) for name in ("error", "loss"))
        error = error if math.isfinite(loss) else math.nan
        seconds = pl_module.seconds_since_candidate()
        pl_module.record(trainer, pl_module.candidate(pl_module.picked, error, seconds))
        self._history.append(pl_module.probabilities())
        self._log(pl_module)
        if not pl_module.stage_ends():
            return
        if pl_module.on_last_stage():
            pl_module.chosen = self._final(trainer, pl_module)
            if pl_module.proposals is not None:
                pl_module.callback(SpaceProposal).nearest = pl_module.nearest_proposal()
        else:
            pl_module.next_stage()
            self._propose(pl_module)

    def _final(self, trainer: pl.Trainer, pl_module: HourNAS) -> list[int]:
        """The pick: the likeliest, which was validated just now, or the best of several by validation error."""
        choices = pl_module.final_choices()
        if not choices:
            return pl_module.picked
        validation = trainer.datamodule.whole_validation()

        def evaluated(choice: list[int]) -> tuple[float, float]:
            began = time.monotonic()
            return pl_module.error_of(choice, validation), time.monotonic() - began

        found = sharded_map(evaluated, choices)
        for choice, (error, seconds) in zip(choices, found, strict=True):
            pl_module.record(trainer, pl_module.candidate(choice, error, seconds))
        errors = [error if math.isfinite(error) else math.inf for error, _ in found]
        return choices[errors.index(min(errors))]

    def _log(self, pl_module: HourNAS) -> None:
        if not pl_module.learns:
            return
        values = {"entropy": pl_module.entropy(), "tau": pl_module.tau()}
        expected = pl_module.open_costs().only(["macs"]).expected(pl_module.probabilities())
        values["expected_macs"] = float(expected[0])
        for name, value in values.items():
            pl_module.log(f"architecture/{name}", value, sync_dist=pl_module.trainer.world_size > 1)

    def report_figures(self) -> list:
        """[(heading, caption, figure)]: what the search gives to each operation of each block, after each epoch."""
        module = self._module
        if not self._history:
            return []
        chosen = module.chosen or module.picked
        blocks = [f"block {number}" for number in range(len(module.space.vital))]
        history = torch.stack(self._history)
        figure = probabilities_figure(history, blocks, module.space.operations, chosen, module.space.vital)
        caption = (
            "The probability that the search gives each operation of each block at its end, the chosen one framed; "
            "beside it that of the chosen one after each epoch. Vital blocks are searched first and fixed then."
        )
        return [("Operations", caption, figure)]

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self._history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._history = list(state_dict["history"])
