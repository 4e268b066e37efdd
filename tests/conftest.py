"""Shared by all tests: bounded threads, so that the suite costs the same on every machine."""

import os

os.environ.setdefault("WANDB_MODE", "disabled")

import torch

torch.set_num_threads(1)
