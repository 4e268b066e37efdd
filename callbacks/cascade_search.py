"""Searches cascades of the members of a pool: the front of error against average cost on the validation images.

When to use: with `method=encas`. Cost: no network is run. With tables at hand some 100,000 cascades a second on a core;
`method.memory_gb` bounds the tables, and of a large pool they are made again and again where that is too little.
"""

import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from callbacks.run_checkpoint import RunCheckpoint
from src.cascades.imported import PARTS
from src.cascades.pool import COST_FIELDS
from src.cascades.thinning import front_indices, thin
from src.errors import UserError, check_choice, check_range, check_whole
from src.evolution.variation import VARIED, Variation
from src.methods.cascade_measures import Architecture, measured
from src.methods.cascade_searchers import SEARCHERS, CascadeSearcher, Known, check_together, timed
from src.methods.encas import ENCAS
from src.reporting.candidates import Candidate
from src.runtime.ranks.alone import Stop, done_by_first
from src.runtime.seeds import keyed_seed

_SAVE_EVERY = 60.0  # seconds
_MOST = 2**15 - 1  # of a gene in a checkpoint


class CascadeSearch(pl.Callback):
    """Runs in the epoch in which nothing is trained, on rank 0, while the others wait awake.

    Its state are all cascades that were evaluated: a resumed search draws what it drew, and evaluates what is new.
    The single members join what was found, so that the front begins with the cheapest of them.

    Args:
        searcher: "auto" (exact where that takes seconds, else gomea), "gomea" (MO-GOMEA, as in ENCAS), "nsga2",
            "random", "greedy" (Streeter's cascades, whose members do not average) or "exact" (all there are).
        evaluations: unique cascades at most, of gomea, nsga2 and random; these end before that where there are hardly
            more.
        mutation, elite: of MO-GOMEA, see `Variation`; both 0: the published algorithm.
    """

    def __init__(
        self,
        searcher: str = "auto",
        evaluations: int = 600_000,
        mutation: float = VARIED.mutation,
        elite: float = VARIED.elite,
    ) -> None:
        self.searcher = check_choice("method.searcher", searcher, SEARCHERS)
        self.evaluations = check_whole("method.evaluations", evaluations, 1)
        self.variation = Variation(
            check_range("method.mutation", mutation, 0, 1), check_range("method.elite", elite, 0, 1)
        )
        self._known: Known | None = None
        self._running: CascadeSearcher | None = None

    def __repr__(self) -> str:
        return f"CascadeSearch(searcher={self.searcher!r}, evaluations={self.evaluations})"

    def state_dict(self) -> dict[str, Any]:
        seen = self._running.seen() if self._running is not None else None
        if seen is None:
            return {}
        return {"rows": torch.from_numpy(seen[0].astype(np.int16)), "values": torch.from_numpy(seen[1])}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict:
            self._known = state_dict["rows"].numpy().astype(np.int64), state_dict["values"].numpy()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ENCAS):
            raise UserError(f"CascadeSearch needs method=encas, not {type(pl_module).__name__}")
        check_together(self.searcher, pl_module.ensemble, pl_module.cost, pl_module.repeats)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: ENCAS) -> None:
        """Searches, records the front from the lowest error on, and ends the fit."""
        if pl_module.ended:
            return
        self._saved = time.monotonic()
        found = done_by_first(
            trainer,
            lambda stop: self._searched(pl_module, stop),
            lambda: self._told(trainer, pl_module),
            lambda: self._save(trainer, pl_module),
        )
        self._running = self._known = None
        pl_module.evaluations, pl_module.exact = found["evaluations"], found["exact"]
        pl_module.take_singles(found["singles"])
        for cascade, values in zip(found["cascades"], found["values"], strict=True):
            pl_module.record(trainer, _candidate(pl_module, cascade, values, found["seconds"] / len(found["cascades"])))
        pl_module.end_search()

    def _searched(self, pl_module: ENCAS, stop: Stop) -> dict[str, Any]:
        """On rank 0, in a thread: what was found, as plain values."""
        pool = pl_module.pool(PARTS[0])
        if len(pool) > _MOST:
            raise UserError(f"method.members has {len(pool)} members; at most {_MOST} can be searched")
        evaluator = pl_module.evaluator(pool)
        self._running = CascadeSearcher(
            evaluator,
            self.searcher,
            pl_module.cost,
            self.evaluations,
            keyed_seed(pl_module.seed, "cascade search"),
            pl_module.ensemble,
            self._known,
            stop.check,
            self.variation,
        )
        cascades, seconds = timed(self._running.front)
        single: list[Architecture] = [{"members": [name], "thresholds": []} for name in pool.names]
        singles = measured(evaluator, single)
        both = single + [cascade for cascade in cascades if cascade not in single]
        values = singles + measured(evaluator, both[len(single) :])
        kept = _thinned(pl_module, values)
        return {
            "evaluations": (self._running.done, self._running.total),
            "singles": [value["error"] for value in singles],
            "exact": self._running.exact(),
            "cascades": [both[place] for place in kept],
            "values": [values[place] for place in kept],
            "seconds": seconds,
        }

    def _told(self, trainer: pl.Trainer, pl_module: ENCAS) -> bool:
        """On rank 0: brings the progress bar up to date; whether it is time to save."""
        running = self._running
        if running is not None:
            pl_module.evaluations = (running.done, running.total)
            pl_module.best_so_far = running.best if pl_module.cost == "macs" else None
            for callback in trainer.callbacks:
                if hasattr(callback, "on_search_progress"):
                    callback.on_search_progress(trainer, pl_module)
        if time.monotonic() - self._saved < _SAVE_EVERY:
            return False
        self._saved = time.monotonic()
        return True

    def _save(self, trainer: pl.Trainer, pl_module: ENCAS) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, RunCheckpoint):
                callback.save(trainer, pl_module)


def _thinned(pl_module: ENCAS, values: list[dict[str, float]]) -> np.ndarray:
    """Which cascades make the front, from the lowest error to the least cost: the best is told of first."""
    field = COST_FIELDS[pl_module.cost]
    both = np.array([[value["error"], value[field]] for value in values])
    front = front_indices(both[:, 0], both[:, 1])
    if pl_module.thin:
        front = front[thin(both[front, 0], both[front, 1], pl_module.thin)]
    return front[::-1]


def _candidate(pl_module: ENCAS, cascade: Architecture, values: dict[str, float], seconds: float) -> Candidate:
    extra = {"latency_ms": values["latency_ms"]} if "latency_ms" in values else {}
    return Candidate(
        id=len(pl_module.candidates),
        parent=None,
        step=0,
        error=values["error"],
        macs=round(values["macs"]),
        params=round(values.get("params", 0)),
        seconds=seconds,
        architecture=cascade,
        extra=extra,
    )
