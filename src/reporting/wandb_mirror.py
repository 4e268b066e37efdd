"""What Weights & Biases shows of a search. `wandb` itself is imported only where a run logs to it."""

from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
from pytorch_lightning.loggers import Logger, WandbLogger

from src.reporting.candidates import Candidate


def wandb_loggers(loggers: Iterable[Logger]) -> list[WandbLogger]:
    """Those of a trainer's loggers that write to W&B."""
    return [logger for logger in loggers if isinstance(logger, WandbLogger)]


def log_candidates(loggers: Iterable[Logger], candidates: Sequence[Candidate]) -> None:
    """Logs the table "candidates" to all W&B loggers: a row for each candidate, without its architecture."""
    extras = list(dict.fromkeys(name for candidate in candidates for name in candidate.extra))
    columns = ["id", "parent", "step", "error", "macs", "params", *extras, "seconds"]
    rows = [[{**c.extra, **c.to_dict()}.get(name) for name in columns] for c in candidates]
    for logger in wandb_loggers(loggers):
        logger.log_table("candidates", columns=columns, data=rows)


def log_figure(loggers: Iterable[Logger], key: str, figure: go.Figure) -> None:
    """Logs an interactive figure to all W&B loggers."""
    for logger in wandb_loggers(loggers):
        import wandb

        logger.experiment.log({key: wandb.Plotly(figure)})
