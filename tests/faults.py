"""Callbacks that break something in the middle of a run, for `tests/test_failures.py`: `_target_: faults.<name>`."""

import os
import resource
import signal
from pathlib import Path

import pytorch_lightning as pl
import torch

from src.runtime.checkpoints import RunState


class FullDisk(pl.Callback):
    """From the first fit on, or once all trainings have ended, no file may be larger than `limit` bytes."""

    def __init__(self, limit: int, at: str = "fit") -> None:
        self.limit, self.at = limit, at

    def on_train_start(self, trainer, pl_module) -> None:
        self._fill("fit")

    def on_test_end(self, trainer, pl_module) -> None:
        if pl_module.prefix.startswith("found"):
            keep = RunState.keep_result

            def kept(*args) -> None:
                keep(*args)
                self._fill("end")

            RunState.keep_result = kept

    def _fill(self, now: str) -> None:
        if now == self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))


class LostImage(pl.Callback):
    """After the first epoch an image is deleted, or cut off after `keep` bytes."""

    def __init__(self, path: str, keep: int | None = None) -> None:
        self.path, self.keep = path, keep

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if self.keep is not None:
            os.truncate(self.path, self.keep)
        else:
            Path(self.path).unlink(missing_ok=True)


class DeadWorker(pl.Callback):
    """Kills a process that reads the data, after the first epoch."""

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            workers = trainer.train_dataloader._iterator._workers
            os.kill(workers[0].pid, signal.SIGKILL)


class NoMemory(pl.Callback):
    """Raises what torch raises when a GPU has no memory left, in epoch `at_epoch`."""

    def __init__(self, at_epoch: int) -> None:
        self.at_epoch = at_epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch == self.at_epoch:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a capacity")


class LittleMemory(pl.Callback):
    """From the first batch on the process may take `spare` bytes more than it has."""

    def __init__(self, spare: int) -> None:
        self.spare = spare

    def on_train_start(self, trainer, pl_module) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + self.spare
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class LostFile(pl.Callback):
    """Deletes a file after the first fit has ended."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_fit_end(self, trainer, pl_module) -> None:
        Path(self.path).unlink(missing_ok=True)


class NotANumber(pl.Callback):
    """Makes the network's outputs NaN in validation, while the training loss stays finite."""

    def on_validation_start(self, trainer, pl_module) -> None:
        self._module = next(m for m in pl_module.network.modules() if isinstance(m, torch.nn.BatchNorm2d))
        self._kept = self._module.running_mean.clone()
        self._module.running_mean.fill_(torch.nan)

    def on_validation_end(self, trainer, pl_module) -> None:
        self._module.running_mean.copy_(self._kept)


class Branching(torch.nn.Module):
    """A network whose path depends on the values of an image: it cannot be traced."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.fc = torch.nn.Conv2d(1, 8, 3), torch.nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if x.mean() > 0:
            x = -x
        return self.fc(x.mean((2, 3)))
