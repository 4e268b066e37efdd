"""A step of an optimizer, or of an LR schedule, on a few numbers: what they refuse is told before anything is trained.

Both are built when a fit begins, the final trainings' hours after the start; and torch looks at few of their values.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from src.errors import UserError, check_range
from src.runtime.mistakes import one_line

# What torch takes as it is, though nothing good can come of it: a schedule with a period of 0 or of half an epoch.
_COUNTS = ("step_size", "total_iters", "total_steps", "T_max", "T_0", "T_mult", "steps_per_epoch", "epochs", "patience")
_STEPS = 3


def try_optimizer(factory: Callable, node: Mapping[str, Any], what: str) -> None:
    """Raises `UserError` where `factory`, parameters -> optimizer, cannot make one that takes a step.

    node: the settings that the factory was made from, for the messages; what: their place in the config.
    """
    weights = [nn.Parameter(torch.ones(shape)) for shape in ((2, 1, 3, 3), (2,), (3, 2))]
    try:
        optimizer = factory([{"params": weights}])
        _checked_kind(optimizer, Optimizer, what)
        momentum = optimizer.defaults.get("momentum", 0)
        if not 0 <= momentum < 1:
            raise UserError(f"{what}.momentum={momentum!r} is not allowed; it must be a number from 0 to less than 1")
        optimizer.step(lambda: _loss(optimizer, weights))
    except UserError:
        raise
    except Exception as error:  # whatever an optimizer may raise
        raise UserError(f"{what}: {_words(node, error)}") from error
    if not _finite_rates(optimizer) or not all(bool(weight.isfinite().all()) for weight in weights):
        raise UserError(f"{what} is not allowed: already its first step leads to values that are not finite")


def try_scheduler(factory: Callable, node: Mapping[str, Any], what: str) -> None:
    """Raises `UserError` where `factory`, optimizer -> LR schedule, cannot make one that gives rates of at least 0."""
    for name in _COUNTS:
        if node.get(name) is not None and check_range(f"{what}.{name}", node[name], 1) != int(node[name]):
            raise UserError(f"{what}.{name}={node[name]!r} is not allowed; it must be a whole number, at least 1")
    if "gamma" in node:
        check_range(f"{what}.gamma", node["gamma"], 0)
    weights = [nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    try:
        told = {"total_steps": 100} if "total_steps" in inspect.signature(factory).parameters else {}
        scheduler = factory(optimizer, **told)
        _checked_kind(scheduler, torch.optim.lr_scheduler.LRScheduler, what)
        for _ in range(_STEPS):
            optimizer.step(lambda: _loss(optimizer, weights))
            scheduler.step()
    except UserError:
        raise
    except Exception as error:  # whatever a schedule may raise
        raise UserError(f"{what}: {_words(node, error)}") from error
    if not _finite_rates(optimizer):
        raise UserError(f"{what} is not allowed: it gives a learning rate that is below 0 or not finite")


def _loss(optimizer: Optimizer, weights: list[nn.Parameter]) -> Tensor:
    with torch.enable_grad():
        optimizer.zero_grad()
        loss = sum(weight.sum() for weight in weights)
        loss.backward()
    return loss


def _finite_rates(optimizer: Optimizer) -> bool:
    return all(math.isfinite(group["lr"]) and group["lr"] >= 0 for group in optimizer.param_groups)


def _checked_kind(made: object, kind: type, what: str) -> None:
    if not isinstance(made, kind):
        raise UserError(f"{what}: its _target_ gives a {type(made).__name__}, not a {kind.__module__}.{kind.__name__}")


def _words(node: Mapping[str, Any], error: Exception) -> str:
    return f"{node['_target_']} refuses its settings ({one_line(f'{type(error).__name__}: {error}')})"
