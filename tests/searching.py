"""What the tests of searches share: a tiny residual network, a slice of the digits, and a fit of a few seconds."""

from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from callbacks.architecture_steps import ArchitectureSteps
from callbacks.cell_derivation import CellDerivation
from callbacks.channel_rescaling import ChannelRescaling
from callbacks.dropout_pruning import DropoutPruning
from callbacks.flops_bin_sampling import FlopsBinSampling
from callbacks.random_sampling import RandomSampling
from callbacks.rank_measurement import RankMeasurement
from callbacks.space_proposal import SpaceProposal
from callbacks.variational_training import VariationalTraining
from callbacks.vital_first import VitalFirst
from callbacks.width_search import WidthSearch
from src.data.digits import DigitsData
from src.methods.cafenet import CafeNet
from src.methods.cell_search import CellSearch
from src.methods.conet import CONet
from src.methods.darts import Darts, darts_space
from src.methods.hournas import HourNAS
from src.methods.random_search import RandomSearch
from src.methods.vinnas import Vinnas
from src.runtime.schedules import cosine
from src.runtime.trainer import make_trainer
from src.spaces.bin_space import BinSpace
from src.spaces.cell_space import CellSpace
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


CELLS = {
    "_target_": "src.networks.cell_network.CellNetwork",
    "genotype": {
        "normal": [[["sep_conv_3x3", 0], ["skip_connect", 1]], [["sep_conv_3x3", 1], ["max_pool_3x3", 2]]],
        "reduce": [[["max_pool_3x3", 0], ["skip_connect", 1]], [["skip_connect", 2], ["max_pool_3x3", 0]]],
    },
    "channels": 4,
    "layers": 3,
    "reductions": [1],
    "num_classes": 10,
    "in_channels": 1,
}
CELL_OPERATIONS = ["max_pool_3x3", "skip_connect", "sep_conv_3x3"]


def vinnas(seed: int = 0, **options) -> Vinnas:
    """Three operations for the five edges of tiny cells."""
    space = partial(CellSpace, operations=CELL_OPERATIONS)
    options = {"base": CELLS, "input_shape": (1, 8, 8), "space": space, "epochs": 4, **options}
    return Vinnas(seed=seed, **{**settings(), **options})


def darts(seed: int = 0, **options) -> Darts:
    """The same, and `none`, under a softmax."""
    space = partial(darts_space, operations=["none", *CELL_OPERATIONS])
    options = {"base": CELLS, "input_shape": (1, 8, 8), "space": space, "epochs": 2, **options}
    return Darts(seed=seed, **{**settings(), **options})


def run_cells(module: CellSearch, *more: pl.Callback, checkpoint: str | None = None, **pruning) -> pl.Trainer:
    """A search over cells on the CPU; returns its trainer."""
    callbacks: list[pl.Callback] = [ArchitectureSteps(lr=0.05)]
    if isinstance(module, Vinnas):
        # so strong and so fast that operations go within a few epochs
        pruning = {"gamma": 0.1, "warmup": 0.25, "ramp": 0.25, "lr_theta": 0.02, "lr_log_sigma2": 0.3, **pruning}
        weights = VariationalTraining(gamma=0.01, warmup=0.25, ramp=0.25, finetune=0, where="method.weights")
        callbacks += [weights, DropoutPruning(**pruning)]
    callbacks += [CellDerivation(), VariationalTraining(), *more]  # the second one is for searches without their own
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks)
    module.search(trainer, digits(), checkpoint)
    return trainer
