"""What the ranks of a run tell each other: plain objects, and whether they hold the same network."""

import hashlib
import json
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def in_group() -> bool:
    """Whether this process is one of several that can talk to each other."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gathered(value: Any) -> list:
    """The `value` of every rank, in the order of ranks, on every rank; call it on all."""
    if not in_group():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def fingerprint(config: Any, network: nn.Module) -> str:
    """A hash of a model config and of every bit of a network's parameters.

    Running statistics are left out: between two forward passes under DDP each rank has those of its own images.
    """
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True).encode(), digest_size=16)
    for name, value in network.named_parameters():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
