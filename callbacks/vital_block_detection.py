"""Reports which blocks are vital (HourNAS, https://arxiv.org/abs/2005.14446), and on request what lesions of them do.

When to use: with any method or training whose network can be traced. Cost: a trace of the network at the start (0.1 s);
with `lesion` at the end about half as many passes over the images as there are blocks and probabilities.
"""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from torch import nn

from src.errors import UserError, check_flag, check_range, check_text, check_whole
from src.graph.tracing import Trace, trace
from src.graph.vital_blocks import VitalBlocks, vital_blocks_of
from src.methods.lesion_study import block_rows, first_images, lesion_study
from src.reporting.page import write_report
from src.reporting.vital_figures import blocks_figure, lesions_figure
from src.reporting.vital_tables import (
    BlockRow,
    Lesions,
    as_markdown,
    block_cells,
    block_table,
    write_blocks,
    write_lesions,
)
from src.reporting.wandb_mirror import log_figure
from src.runtime.build import network_from

_ROWS = 40  # up to so many blocks stand in the terminal, all in vital_blocks.csv


class VitalBlockDetection(pl.Callback):
    """Writes `vital_blocks.csv` into the run folder when a fit or a validation of its own begins; then `lesions.csv`.

    The network is what the module gives as `vital_network()`, which may be None for none yet, or else its `network`.
    The pictures go into the report of a module that shows those of callbacks (`report_figures()`), into
    `vital_blocks.html` where there is none, and to W&B. Lesions are measured on validation images, never on the test
    part.

    Args:
        folder: the run folder.
        blocks: paths of modules, or names of classes of blocks; None: they are discovered.
        parameter_free_shortcuts: whether a shortcut that subsamples or pads is a way around a block.
        lesion: the probabilities of the lesion study at the end; None: there is none.
        seed: of its masks.
        images: so many validation images; None: all.
        console: where to print; by default standard output.
    """

    def __init__(
        self,
        folder: str,
        blocks: str | Sequence[str] | None = None,
        parameter_free_shortcuts: bool = True,
        lesion: Sequence[float] | None = None,
        seed: int = 0,
        images: int | None = None,
        console: Console | None = None,
    ) -> None:
        where = "callbacks.vital_blocks"
        self.folder = Path(check_text(f"{where}.folder", folder))
        self.blocks = _checked_blocks(f"{where}.blocks", blocks)
        self.parameter_free_shortcuts = check_flag(f"{where}.parameter_free_shortcuts", parameter_free_shortcuts)
        self.lesion = None if lesion is None else _checked_rates(f"{where}.lesion", lesion)
        self.seed = check_whole(f"{where}.seed", seed, 0)
        self.images = None if images is None else check_whole(f"{where}.images", images, 1)
        self._console = console
        self.rows: list[BlockRow] = []
        self.lesions: Lesions | None = None

    def __repr__(self) -> str:
        return f"VitalBlockDetection({str(self.folder)!r}, blocks={self.blocks!r}, lesion={self.lesion!r})"

    # when

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.lesions = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.report(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.rows:  # at the start the module had nothing to show
            self.report(trainer, pl_module)
        self.measure(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.lesions is None:  # a fit that was resumed behind its last epoch has no end of training
            self.measure(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.report(trainer, pl_module)
            self.measure(trainer, pl_module)

    # what

    def report(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finds the blocks, and on rank 0 tells of them; call it on all ranks."""
        if self.lesion is not None and not hasattr(trainer.datamodule, "whole_validation"):
            raise UserError("callbacks.vital_blocks.lesion needs data with validation images, as those of conf/data")
        found = self.found(trainer, pl_module)
        if found is None:
            return
        network, blocks = found
        self.rows, self.lesions = block_rows(network, blocks), None
        if trainer.is_global_zero:
            write_blocks(self.folder / "vital_blocks.csv", self.rows)
            self._tell(trainer, pl_module, f"vital ops outside the blocks: {', '.join(blocks.ops) or 'none'}")

    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The lesion study, where it is asked for; call it on all ranks."""
        found = None if self.lesion is None else self.found(trainer, pl_module)
        if found is None:
            return
        network, blocks = found
        self.rows = block_rows(network, blocks)
        batches = first_images(trainer.datamodule.whole_validation(), self.images)
        context = trainer.precision_plugin.forward_context
        self.lesions = lesion_study(network, blocks, self.lesion, pl_module.task, batches, self.seed, context)
        if trainer.is_global_zero:
            write_blocks(self.folder / "vital_blocks.csv", self.rows)  # a search may have changed the network
            write_lesions(self.folder / "lesions.csv", self.rows, self.lesions)
            self._tell(trainer, pl_module)

    def found(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> tuple[nn.Module, VitalBlocks] | None:
        """The network of now and its blocks; None where the module has none to show yet.

        Of a super-net that cannot be traced, as it selects its weights in the forward, the best model config so far is
        taken; it has no trained weights, so there are no lesions of it.
        """
        shape = _input_shape(trainer, pl_module)
        if hasattr(pl_module, "vital_network"):
            network = pl_module.vital_network()
            return None if network is None else (network, self._blocks_of(network, trace(network, shape)))
        network = getattr(pl_module, "network", None)
        if network is None:
            raise UserError(f"VitalBlockDetection needs a module with a network; {type(pl_module).__name__} has none")
        try:
            traced = trace(network, shape)
        except UserError as error:
            if not hasattr(pl_module, "architecture"):
                raise
            if self.lesion is not None:
                told = "leave it out here, and give it to a train.py of what is found"
                raise UserError(f"callbacks.vital_blocks.lesion needs a network that can be traced; {told}") from error
            network = network_from(pl_module.architecture())
            traced = trace(network, shape)
        return network, self._blocks_of(network, traced)

    def _blocks_of(self, network: nn.Module, traced: Trace) -> VitalBlocks:
        return vital_blocks_of(network, traced, self.blocks, self.parameter_free_shortcuts)

    def _tell(self, trainer: pl.Trainer, pl_module: pl.LightningModule, note: str = "") -> None:
        console = self._console or Console()
        vital = sum(row.vital for row in self.rows)
        title = "lesions of single blocks" if self.lesions else "blocks of the network"
        if len(self.rows) <= _ROWS:
            console.print(block_table(self.rows, self.lesions, title))
        else:
            file = "lesions.csv" if self.lesions else "vital_blocks.csv"
            console.print(f"{vital} of {len(self.rows)} blocks are vital, {title}: {self.folder / file}")
        if note:
            console.print(note)
        figures = self.report_figures()
        for heading, _, figure in figures:
            log_figure(trainer.loggers, heading.lower().replace(" ", "_"), figure)
        tables = [("Costs of the blocks", block_cells(self.rows))]
        if self.lesions is not None:
            tables.append(("Accuracy (%) with a lesion", block_cells(self.rows, self.lesions)))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and self.rows:
                for heading, cells in tables:
                    logger.experiment.add_text(f"vital blocks/{heading}", as_markdown(cells))
        if not hasattr(pl_module, "report_figures"):
            facts = {"blocks": str(len(self.rows)), "vital": str(vital)}
            write_report(self.folder / "vital_blocks.html", "Vital blocks", facts, tables, figures)

    def report_figures(self) -> list:
        """(heading, caption, figure) for a report page."""
        if not self.rows:
            return []
        caption = "A block is vital when the output no longer depends on the input without its parametric ops."
        figures = [("Vital blocks", caption, blocks_figure(self.rows))]
        if self.lesions is not None:
            caption = (
                "Of one block at a time: each channel of its transform is reset to zero with probability p, before the "
                "shortcut is added. A vital block at p = 1 leaves one class for all images, by construction."
            )
            figures.append(("Lesions", caption, lesions_figure(self.rows, self.lesions)))
        return figures


def _input_shape(trainer: pl.Trainer, pl_module: pl.LightningModule) -> tuple[int, int, int]:
    shape = getattr(pl_module, "input_shape", None) or getattr(trainer.datamodule, "input_shape", None)
    if shape is None:
        raise UserError("VitalBlockDetection needs data that tells its input_shape, as those of conf/data do")
    return tuple(shape)


def _checked_blocks(name: str, blocks: str | Sequence[str] | None) -> list[str] | None:
    if blocks is None:
        return None
    if isinstance(blocks, str) or not isinstance(blocks, Sequence):
        return [check_text(name, blocks)]
    return [check_text(f"{name}[{place}]", block) for place, block in enumerate(blocks)]


def _checked_rates(name: str, rates: Sequence[float]) -> list[float]:
    if isinstance(rates, str) or not isinstance(rates, Sequence) or not rates:
        raise UserError(f"{name}={rates!r} is not allowed; it must be a list of probabilities, [0.3, 0.6, 1.0] say")
    return [float(check_range(f"{name}[{place}]", rate, 0, 1)) for place, rate in enumerate(rates)]
