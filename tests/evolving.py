"""What the tests of evolving super-nets share: two tiny super-nets for the digits, both methods and their fit."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from callbacks.supernet_evolution import SupernetEvolution
from src.methods.encas_joint import EncasJoint
from src.methods.nat import NAT
from src.methods.subnet_proposals import Proposals
from src.reporting.candidates import Candidate
from src.runtime.trainer import make_trainer
from tests.searching import digits, settings

_STAGE = {"kernels": [3], "expansions": [2, 3], "stride": 2, "activation": "relu"}
ELASTIC = {
    "_target_": "src.networks.elastic_mobile.supernet.ElasticSupernet",
    "space": {
        "family": "tiny_images",
        "stems": [8],
        "lasts": [16],
        "stages": [{**_STAGE, "widths": [8], "depths": [1, 2]}, {**_STAGE, "widths": [8], "depths": [1, 2, 3]}],
    },
    "num_classes": 10,
    "in_channels": 1,
}
SLIM = {**ELASTIC, "space": {**ELASTIC["space"], "stems": [4], "lasts": [8]}}
SHORT = {"warmup_epochs": 0, "iterations": 1, "epochs": 1, "doe": 4, "archive": 3, "calibration_images": 64}
QUICK = {"members": 10, "evaluations": 40}


def nat(folder: Path, proposals: dict | None = None, **options) -> NAT:
    """One super-net, and an iteration after the first archive."""
    given = {"base": ELASTIC, "input_shape": (1, 8, 8), "folder": str(folder), **SHORT, **settings(), **options}
    return NAT(proposals=Proposals(**{"population": 8, **QUICK, **(proposals or {})}), **given)


def joint(folder: Path, proposals: dict | None = None, **options) -> EncasJoint:
    """Two super-nets, and an iteration after the first archive."""
    supernets = {"big": ELASTIC, "slim": SLIM}
    given = {"base": {}, "input_shape": (1, 8, 8), "folder": str(folder), **SHORT, **settings(), **options}
    return EncasJoint(supernets=supernets, proposals={**QUICK, **(proposals or {})}, **given)


def evolve(module, folder: Path, *more: pl.Callback, checkpoint: str | None = None, logger=()) -> pl.Trainer:
    """A search on the CPU; returns its trainer."""
    options = {"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}
    trainer = make_trainer(options, [SupernetEvolution(str(folder)), *more], list(logger))
    module.search(trainer, digits(), checkpoint)
    return trainer


def judged(module: NAT, errors: np.ndarray, iteration: int = 0) -> list[Candidate]:
    """Candidates of the archive of `module` with these errors."""
    rows = module.archive[: len(errors)]
    facts = zip(rows, errors, module.space.macs_of(rows), module.space.params_of(rows), strict=True)
    return [
        Candidate(number, None, 0, error, macs, params, 0.0, module.space.genotype(row), {"iteration": iteration})
        for number, (row, error, macs, params) in enumerate(facts)
    ]
