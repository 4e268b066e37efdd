"""`pareto.csv` and `report.html`, rewritten while the search goes on.

When to use: in every search. Cost: the page holds plotly (5 MB) and is written in about a tenth of a second; between
two candidates it is written only when that takes at most `share` of the time, and always at the end. The same holds of
the front, which is small, and is written with every checkpoint too.
"""

import os
from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from src.errors import WriteError, check_text
from src.reporting import quantities
from src.reporting.candidates import OBJECTIVES, Candidate, best_candidate, pareto_front, write_pareto
from src.reporting.figures import front_figure, learning_curves_figure, width_figure
from src.reporting.page import write_report
from src.reporting.tables import comparison_cells, comparison_note, plain_rows
from src.reporting.time_share import TimeShare
from src.reporting.wandb_mirror import log_figure
from src.whole_files import output_folder

_TRAIN_CURVES = ("train/error", "train/loss")
_VALIDATION_CURVES = ("val/error", "val/error_top5", "val/loss")
_OUTDATED = " Pale dots were judged by weights that have been trained on since: they are on no front."
_ROWS = 16  # so many members of the front are listed in the page, all are in pareto.csv


class ParetoReport(pl.Callback):
    """Writes the Pareto front and the report page of a search into the run folder.

    Of the module it uses `candidates` and, where they are there: `prefix` (of the names of its metrics), `description`
    (dict of short texts: method, model, data, ...), `candidate_cells(candidate)` (dict of texts for the table of
    the front), `report_facts()` (dict of short texts for the head of the page; after the final table it may know
    more), `candidates_take_epochs = False` (no candidate has an epoch or seconds of its own), `base_network` (dict
    with macs, params and, if known, name and error), `epochs_per_trial` (the learning curves break between candidates,
    each has a training of its own) and `report_figures()` (list of (heading, caption, plotly figure)); a figure headed
    "Widths" replaces the one that is drawn here.

    Args:
        folder: the run folder; made if it is not there.
        objectives: those of the front, unless the search has some of its own; all are made small.
        share: the largest part of the time that may go into the page before the end, and into the front between two
            checkpoints; 1 writes both at each candidate.
    """

    def __init__(self, folder: str, objectives: tuple[str, ...] = OBJECTIVES, share: float = 0.05):
        self._page_time, self._front_time = TimeShare(share), TimeShare(share)
        self.folder = check_text("callbacks.pareto_report.folder", folder)
        self.objectives = tuple(objectives)
        self.share = share
        self.curves: dict[str, list[float | None]] = {}
        self._front_behind = False  # whether candidates are missing in pareto.csv
        self._ended_epoch: int | None = None

    def __repr__(self) -> str:
        return f"ParetoReport(folder={self.folder!r}, objectives={self.objectives!r}, share={self.share})"

    @property
    def path(self) -> str:
        return os.path.join(self.folder, "report.html")

    def _objectives(self, pl_module) -> tuple[str, ...]:
        return getattr(pl_module, "objectives", None) or self.objectives

    def state_dict(self) -> dict:
        return {"curves": {name: list(values) for name, values in self.curves.items()}}

    def load_state_dict(self, state_dict):
        self.curves = {name: list(values) for name, values in state_dict["curves"].items()}

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if self._ended_epoch == trainer.current_epoch:  # after an epoch its values are known, and not yet noted
            self._note(trainer, pl_module, _TRAIN_CURVES, self._ended_epoch)
            checkpoint["callbacks"][self.state_key] = self.state_dict()
        if trainer.is_global_zero and self._front_behind:
            self._write_front(pl_module)

    def setup(self, trainer, pl_module, stage):
        if trainer.is_global_zero and stage == "fit":
            output_folder(self.folder)
            self._ended_epoch = None

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._note(trainer, pl_module, _VALIDATION_CURVES, trainer.current_epoch)

    # A module may log at the end of the epoch, after the callbacks: what an epoch gave is known when the next begins.

    def on_train_epoch_end(self, trainer, pl_module):
        self._ended_epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer, pl_module):
        self._note(trainer, pl_module, _TRAIN_CURVES, self._ended_epoch)

    def on_train_end(self, trainer, pl_module):
        self._note(trainer, pl_module, _TRAIN_CURVES, self._ended_epoch)

    def _note(self, trainer, pl_module, names: Sequence[str], epoch: int | None) -> None:
        """Puts today's value of each metric at `epoch`; epochs without one hold None."""
        for name in names:
            logged = trainer.callback_metrics.get(getattr(pl_module, "prefix", "") + name)
            if logged is not None and epoch is not None:
                values = self.curves.setdefault(name, [])
                values.extend([None] * (epoch - len(values)))
                values[epoch:] = [float(logged)]

    def on_candidate(self, trainer, pl_module, candidate: Candidate):
        """Called by the search after `candidate` has joined `pl_module.candidates`."""
        if not trainer.is_global_zero:
            return
        self._front_behind = True
        if self._front_time.allowed():
            self._write_front(pl_module)
        if self._page_time.allowed():
            self.write(pl_module)

    def on_exception(self, trainer, pl_module, exception):
        if not (trainer.is_global_zero and getattr(pl_module, "candidates", [])) or isinstance(exception, WriteError):
            return
        try:
            self.write(pl_module)
        except Exception as error:  # whatever it is, it must not take the place of the exception that ended the fit
            rank_zero_warn(f"{self.path} could not be brought up to date: {error}")

    def on_fit_end(self, trainer, pl_module):
        if trainer.is_global_zero and getattr(pl_module, "candidates", []):
            self.write(pl_module)
            log_figure(trainer.loggers, "pareto_front", _front(pl_module, []))

    def write(self, pl_module, comparison: Sequence[Mapping] = ()) -> str:
        """Writes `pareto.csv` and the page, also after the fit; returns the path of the page.

        `comparison`: rows of the final table as in `src.reporting.tables`; the first is taken for the base network
        and the last for the found one, and both are marked in the picture of the front.
        """
        self._write_front(pl_module)
        with self._page_time.spent():
            self._write_page(pl_module, comparison)
        return self.path

    def _write_front(self, pl_module) -> None:
        with self._front_time.spent():
            path = os.path.join(self.folder, "pareto.csv")
            write_pareto(path, pl_module.candidates, self._objectives(pl_module))
        self._front_behind = False

    def _write_page(self, pl_module, comparison: Sequence[Mapping]) -> None:
        candidates = pl_module.candidates
        description = dict(getattr(pl_module, "description", {}))
        front = pareto_front(candidates, self._objectives(pl_module))
        tables = [
            (_comparison_heading(comparison), comparison_cells(comparison)),
            (_front_heading(front), _front_rows(front, pl_module)),
        ]
        facts = description | _facts(candidates, front)
        facts |= pl_module.report_facts() if hasattr(pl_module, "report_facts") else {}
        write_report(self.path, _title(pl_module, description), facts, tables, self._figures(pl_module, comparison))

    def _figures(self, pl_module, comparison) -> list[tuple]:
        own = {
            "Error against cost": (
                "Each dot is a candidate with its id; the line is the Pareto front (lower left is better). The error "
                "of a candidate is what the search has measured, after a short training of its own or with shared "
                "weights; a base or found network of the final table has had its full training."
                + (_OUTDATED if any(candidate.outdated for candidate in pl_module.candidates) else ""),
                _front(pl_module, plain_rows(comparison)),
            )
        }
        candidates = pl_module.candidates
        chain = all(c.parent == (candidates[i - 1].id if i else None) for i, c in enumerate(candidates))
        if candidates and all(candidate.widths for candidate in candidates):
            shown = candidates if chain else pareto_front(candidates, self._objectives(pl_module))
            found = [row.get("width") for row in plain_rows(comparison) if row.get("network") == "found"]
            found = found[0] if found and isinstance(found[0], Mapping) else None
            picture = width_figure(shown, candidates[0].widths if chain else None, found)
            own["Widths"] = (_width_caption(chain), picture)
        if hasattr(pl_module, "report_figures"):
            own |= {heading: (caption, figure) for heading, caption, figure in pl_module.report_figures()}
        if self.curves:
            apart = chain or hasattr(pl_module, "epochs_per_trial")
            boundaries = [candidate.step + 1 for candidate in candidates[:-1]] if apart else []
            caption = "Errors and losses after each epoch of the search."
            caption = f"{caption} {getattr(pl_module, 'validated_note', '')}".strip()
            own["Learning curves"] = (caption, learning_curves_figure(self.curves, boundaries))
        return [(heading, caption, figure) for heading, (caption, figure) in own.items()]


def _front(pl_module, rows: Sequence[Mapping]):
    """The picture of the front; with the final table, its first and last row are the marked networks."""
    marked = [
        {
            "name": f"{row.get('network', '')} ({getattr(pl_module, 'final_weights', 'full training')})",
            "macs": _middle(row.get("macs")),
            "params": _middle(row.get("parameters")),
            "error": _middle(row.get("val_error")),
        }
        for row in rows
    ]
    marked = [network for network in marked if network["macs"] is not None]
    base = marked[0] if marked else getattr(pl_module, "base_network", None)
    return front_figure(pl_module.candidates, base, marked[-1] if len(marked) > 1 else None)


def _middle(value) -> float | None:
    return quantities.middle(value if isinstance(value, (list, tuple)) else [value])


def _width_caption(chain: bool) -> str:
    """`chain`: each candidate was made from the one before it, as in CONet; else only the front is worth showing."""
    text = "The number of channels of each group of layers that share a width"
    if chain:
        return f"{text}, for each candidate. Colours compare with the first candidate: blue is wider, brown narrower."
    return f"{text}, for the members of the Pareto front from few MACs to many."


def _title(pl_module, description: Mapping[str, str]) -> str:
    title = str(description.get("method", type(pl_module).__name__))
    title += f": {description['model']}" if "model" in description else ""
    return title + (f" on {description['data']}" if "data" in description else "")


def _facts(candidates: Sequence[Candidate], front: Sequence[Candidate]) -> dict[str, str]:
    best = best_candidate(candidates)
    facts = {"candidates": str(len(candidates)), "on the Pareto front": str(len(front))}
    if best:
        facts["lowest error"] = f"{quantities.percent(best.error)} % (candidate {best.id})"
        facts["its cost"] = f"{quantities.amount(best.macs)} MACs, {quantities.amount(best.params)} parameters"
        facts |= {f"its {name.replace('_', ' ')}": quantities.figure(value) for name, value in best.extra.items()}
    return facts | {"time in candidates": quantities.clock(sum(candidate.seconds for candidate in candidates))}


def _comparison_heading(rows: Sequence[Mapping]) -> str:
    note = comparison_note(rows)
    return f"Comparison ({note})" if note else "Comparison"


def _front_heading(front: Sequence[Candidate]) -> str:
    shown = len(_evenly(front))
    return "Pareto front" if shown == len(front) else f"Pareto front ({shown} of {len(front)}, all are in pareto.csv)"


def _evenly(front: Sequence[Candidate]) -> Sequence[Candidate]:
    """At most `_ROWS` of the front, the last (of lowest error) always among them."""
    step = max(1, -(-len(front) // _ROWS))
    return front[::-1][::step][::-1]


def _front_rows(front: Sequence[Candidate], pl_module) -> list[dict]:
    """Rows for people, from few MACs to many."""
    timed = getattr(pl_module, "candidates_take_epochs", True)
    return [
        {
            "candidate": str(c.id),
            "validation error (%)": quantities.percent(c.error),
            "MACs": quantities.amount(c.macs),
            "parameters": quantities.amount(c.params),
            **({"widths": quantities.width_summary(c.widths)} if c.widths else {}),
            **(pl_module.candidate_cells(c) if hasattr(pl_module, "candidate_cells") else {}),
            **{name.replace("_", " "): quantities.figure(value) for name, value in c.extra.items()},
            **({"epoch": str(c.step + 1), "seconds": quantities.seconds(c.seconds)} if timed else {}),
        }
        for c in _evenly(front)
    ]
