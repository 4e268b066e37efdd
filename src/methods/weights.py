"""Weights from a file into a network: a state dict, or those of the members of a front's cascades by their names.

A search of cascades keeps the second kind once for all of its front, `front/weights.pt`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src.errors import UserError, did_you_mean
from src.networks.cascade import Cascade
from src.runtime.checkpoints import CheckpointError, load_checked


def load_weights(network: nn.Module, path: Path) -> None:
    """Loads `weights.pt` or `front/weights.pt` into `network`; raises `UserError` where it does not fit."""
    try:
        weights = load_checked(path)
        if not _by_member(weights):
            network.load_state_dict(weights)
        elif isinstance(network, Cascade):
            load_members(network, weights)
        else:
            raise UserError("it holds those of a front's members by their names, for cascades of that front")
    except (UserError, CheckpointError, RuntimeError, TypeError, AttributeError) as error:
        text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise UserError(f"the weights {path} cannot be loaded into this architecture: {text[:300]}") from error


def load_members(cascade: Cascade, weights: Mapping[str, Mapping[str, Any]]) -> None:
    """Loads into each member the state dict of its name; raises `UserError` where there is none."""
    for name, member in zip(cascade.names, cascade.members, strict=True):
        if name not in weights:
            raise UserError(f"there are none of the member {name!r}; {did_you_mean(name, weights)}")
        member.load_state_dict(weights[name])


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics on the CPU, for a file."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}


def _by_member(weights: Any) -> bool:
    return isinstance(weights, Mapping) and bool(weights) and all(isinstance(w, Mapping) for w in weights.values())
