"""What the tests of searches share: a tiny residual network, a slice of the digits, and a fit of a few seconds."""

from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from callbacks.architecture_steps import ArchitectureSteps
from callbacks.channel_rescaling import ChannelRescaling
from callbacks.flops_bin_sampling import FlopsBinSampling
from callbacks.random_sampling import RandomSampling
from callbacks.rank_measurement import RankMeasurement
from callbacks.space_proposal import SpaceProposal
from callbacks.vital_first import VitalFirst
from callbacks.width_search import WidthSearch
from src.data.digits import DigitsData
from src.methods.cafenet import CafeNet
from src.methods.conet import CONet
from src.methods.hournas import HourNAS
from src.methods.random_search import RandomSearch
from src.runtime.schedules import cosine
from src.runtime.trainer import make_trainer
from src.spaces.bin_space import BinSpace
from src.spaces.operation_space import OperationSpace
from src.spaces.widths import WidthSpace
from src.tasks.classification import Classification

BASE = {
    "_target_": "src.networks.resnet.ResNet",
    "blocks": [1, 1],
    "channels": [8, 12],
    "num_classes": 10,
    "in_channels": 1,
}


def digits(**options) -> DigitsData:
    """320 of the digits in batches of 64, set up."""
    known = {"name": "digits", "num_classes": 10, "channels": 1, "limit": 320, "batch_size": 64, "val_fraction": 0.2}
    data = DigitsData(**{**known, "mean": 0.3057, "std": 0.3761, **options})
    data.prepare_data()
    data.setup()
    return data


def settings(scheduled: bool = True) -> dict:
    """Task, optimizer and schedule of a module."""

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    return {"task": Classification(10), "optimizer": sgd, "scheduler": cosine if scheduled else None}


def conet(trials: int = 3, epochs_per_trial: int = 2, seed: int = 0, **options) -> CONet:
    options = {"base": BASE, "input_shape": (1, 8, 8), "init_width": 16, "min_width": 8, "max_width": 64, **options}
    return CONet(trials=trials, epochs_per_trial=epochs_per_trial, seed=seed, **{**settings(), **options})


def run(module: CONet, *more: pl.Callback, measurement: RankMeasurement | None = None, **rescaling) -> pl.Trainer:
    """A CONet search on the CPU; returns its trainer."""
    callbacks = [measurement or RankMeasurement(), ChannelRescaling(**rescaling), *more]
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks)
    module.search(trainer, digits())
    return trainer


def random_search(trials: int = 3, epochs_per_trial: int = 1, seed: int = 0, **options) -> RandomSearch:
    """Random widths from 4 to 32 of the tiny network."""
    space = partial(WidthSpace, min_width=4, max_width=32)
    options = {"base": BASE, "input_shape": (1, 8, 8), "space": space, "min_macs": 0.3, "max_macs": 1.5, **options}
    return RandomSearch(trials=trials, epochs_per_trial=epochs_per_trial, seed=seed, **{**settings(), **options})


def run_random(module: RandomSearch, *more: pl.Callback, checkpoint: str | None = None) -> pl.Trainer:
    """A random search on the CPU; returns its trainer."""
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, [RandomSampling(), *more])
    module.search(trainer, digits(), checkpoint)
    return trainer


def cafenet(epochs: int = 2, seed: int = 0, **options) -> CafeNet:
    """Widths of the tiny network in four bins a group, under half of its MACs."""
    space = partial(BinSpace, bin_rule="uniform", bins_per_group=4)
    options = {"base": BASE, "input_shape": (1, 8, 8), "space": space, "max_macs": 0.5, **options}
    return CafeNet(epochs=epochs, seed=seed, **{"calibration_images": 128, **settings(), **options})


def run_cafenet(
    module: CafeNet,
    folder: Path,
    *more: pl.Callback,
    sampling: dict | None = None,
    data: pl.LightningDataModule | None = None,
    checkpoint: str | None = None,
    **searching,
) -> pl.Trainer:
    """A super-net's training and search on the CPU, `more` after the callbacks of the method; returns its trainer."""
    searching = {"population": 6, "evaluations": 18, "k_eval": 2, **searching}
    callbacks = [FlopsBinSampling(**(sampling or {})), WidthSearch(str(folder), **searching), *more]
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks)
    module.search(trainer, data or digits(), checkpoint)
    return trainer


MOBILE = {
    "_target_": "src.networks.inverted_residual.InvertedResidualNet",
    "stem": [8, 1],
    "stages": [[4, 1, 1], [8, 2, 2], [12, 3, 2]],
    "head": 16,
    "operations": "ir_k3_e3",
    "num_classes": 10,
    "in_channels": 1,
}
OPERATIONS = ["ir_k3_e1", "ir_k3_e3", "ir_k5_e3_se", "ir_k3_e6"]


def hournas(seed: int = 0, **options) -> HourNAS:
    """Four operations, and none, for the six blocks of a tiny mobile network, three of them vital."""
    options = {"base": MOBILE, "input_shape": (1, 8, 8), "targets": {"macs": 1.0, "params": 1.0}, **options}
    options = {"tolerance": 0.1, "vital_epochs": 2, "other_epochs": 2, "calibration_images": 64, **options}
    options = {"space": partial(OperationSpace, operations=OPERATIONS), **options}
    return HourNAS(seed=seed, **{**settings(), **options})


def run_hournas(module: HourNAS, *more: pl.Callback, checkpoint: str | None = None, **steps) -> pl.Trainer:
    """A HourNAS search on the CPU; returns its trainer."""
    steps = ArchitectureSteps(**{"lr": 0.1, **steps})
    callbacks = [SpaceProposal(proposals=2, steps=200, tau_start=2.0), steps, VitalFirst(), *more]
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks)
    module.search(trainer, digits(), checkpoint)
    return trainer
