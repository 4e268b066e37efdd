"""SIGTERM and Ctrl-C: all ranks stop at the same step, so that a checkpoint of it can be saved.

Lightning's own handler broadcasts from inside the signal handler, where the ranks may stand at different operations and
wait for each other for ever, and asks all ranks at every step. Here a signal is noted, and looked at every few steps.
"""

import os
import signal
import sys

import pytorch_lightning as pl
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from pytorch_lightning.utilities.exceptions import SIGTERMException

from src.runtime.ranks.agreement import gathered

last_signal: int | None = None  # the first that this process was sent; it outlives the fit in which it came
_EVERY_STEPS = 10  # under several ranks; alone a step is not waited for


class Stopping(_SignalConnector):
    """Takes SIGTERM and SIGINT while a trainer runs; a second SIGINT stops at once, without a checkpoint."""

    def register_signal_handlers(self) -> None:
        self.received_sigterm = False
        self._original_handlers = self._get_current_signal_handlers()
        super().register_signal_handlers()  # requeueing under SLURM
        self._register_signal(signal.SIGTERM, self._note)
        self._register_signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: object) -> None:
        global last_signal
        if number == signal.SIGINT and last_signal == number:
            raise KeyboardInterrupt
        if last_signal is None:
            last_signal = number
            launcher = self.trainer.strategy.launcher
            if number == signal.SIGTERM and launcher is not None:
                launcher.kill(number)
            if number == signal.SIGINT and self.trainer.is_global_zero:
                os.write(sys.stderr.fileno(), b"\nstopping after this step; Ctrl-C once more stops at once\n")

    def agree(self) -> None:
        """Called by all ranks at the same step: whether one of them was told to stop."""
        self.received_sigterm = self.trainer.strategy.reduce_boolean_decision(last_signal is not None, all=False)


class StopTogether(pl.Callback):
    """Lets all ranks look at the same steps for a signal. After one, Lightning ends the fit behind that step."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # its broadcast at every step costs a wait for the GPU; ours has done its work by then
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch, batch_idx: int) -> None:
        if trainer.world_size == 1 or batch_idx % _EVERY_STEPS == 0:
            trainer._signal_connector.agree()

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        if trainer.world_size == 1 or batch_idx % _EVERY_STEPS == 0:
            trainer._signal_connector.agree()


def stop_if_told() -> None:
    """Ends the run on all ranks if one of them was told to stop after the last step of a fit; call it on all."""
    if any(gathered(last_signal is not None)):
        raise SIGTERMException


def stop_together(trainer: pl.Trainer) -> None:
    """Puts the handling of signals of this file in the place of Lightning's."""
    trainer._signal_connector = Stopping(trainer)
