"""What the ranks of a run tell each other: plain objects, and whether they hold the same network."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """How many processes this run has, as far as they can talk to each other by now."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


def gathered(value: Any) -> list:
    """The `value` of every rank, in the order of ranks, on every rank; call it on all."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def fingerprint(config: Any, network: nn.Module, more: Mapping[str, Tensor] | None = None) -> str:
    """A hash of a model config and of every bit of a network's parameters, and of `more` tensors by name.

    Running statistics are left out: between two forward passes under DDP each rank has those of its own images.
    """
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
    for name, value in [*network.named_parameters(), *(more or {}).items()]:
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
