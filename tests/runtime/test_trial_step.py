"""Optimizers and schedules are tried before a search: the right ones pass, whatever their kind, and nothing moves."""

import pytest
import torch
from omegaconf import OmegaConf

from src.errors import UserError
from src.runtime.preparation import partial

OPTIMIZERS = [
    {"_target_": "torch.optim.SGD", "lr": 1e30},
    {"_target_": "torch.optim.Adam", "betas": [0.9, 0.99], "amsgrad": True},
    {"_target_": "torch.optim.RMSprop", "momentum": 0.5},
    {"_target_": "torch.optim.LBFGS"},  # wants a closure
    {"_target_": "torch.optim.Adagrad", "lr": 0},
    {"_target_": "torch.optim.Rprop"},
]
SCHEDULERS = [
    {"_target_": "src.runtime.schedules.cosine", "warmup": 0.5},
    {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1},
    {"_target_": "torch.optim.lr_scheduler.MultiStepLR", "milestones": [1, 2]},
    {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 50},
    {"_target_": "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts", "T_0": 5},
    {"_target_": "torch.optim.lr_scheduler.LinearLR", "total_iters": 5},
    {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9},
    {"_target_": "torch.optim.lr_scheduler.CyclicLR", "base_lr": 0.01, "max_lr": 0.1},
]


@pytest.mark.parametrize("node", OPTIMIZERS, ids=lambda node: node["_target_"])
def test_right_optimizers_pass(node):
    state = torch.get_rng_state()
    partial(OmegaConf.create(node), "optimizer")
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("node", SCHEDULERS, ids=lambda node: node["_target_"])
def test_right_schedules_pass(node):
    partial(OmegaConf.create(node), "scheduler")


@pytest.mark.parametrize(
    ("what", "node", "told"),
    [
        ("optimizer", {"_target_": "torch.optim.SGD", "lr": float("nan")}, "not finite"),
        ("optimizer", {"_target_": "torch.optim.SGD", "momentum": 1.0}, "optimizer.momentum=1.0 is not allowed"),
        ("optimizer", {"_target_": "torch.optim.Adam", "betas": [2, 0.9]}, "Invalid beta parameter"),
        ("optimizer", {"_target_": "torch.optim.Adam", "foreach": "yes"}, "must be true or false"),
        ("optimizer", {"_target_": "builtins.dict"}, "optimizer: "),
        ("scheduler", {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1.5}, "step_size=1.5 is not"),
        ("scheduler", {"_target_": "torch.optim.lr_scheduler.MultiStepLR", "milestones": 3}, "MultiStepLR refuses"),
        ("scheduler", {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 0}, "T_max=0 is not allowed"),
        ("scheduler", {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}, "refuses its settings"),
    ],
)
def test_wrong_ones_are_told(what, node, told):
    with pytest.raises(UserError, match=told):
        partial(OmegaConf.create(node), what)
