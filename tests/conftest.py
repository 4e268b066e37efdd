"""Shared by all tests: bounded threads, so that the suite costs the same on every machine; no rank left behind."""

import os
import signal

os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

_RANK = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def no_rank():
    """A fit under DDP makes its process a rank for good: commands that later tests start would wait for the others."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in _RANK:
        os.environ.pop(name, None)
