"""Ranks that hold different networks are found at the end of the epoch; equal ones are left alone."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from callbacks import ranks_agree
from callbacks.ranks_agree import RanksAgree
from src.errors import UserError
from src.runtime.ranks.agreement import fingerprint


def told(monkeypatch, other: nn.Module, config=None) -> None:
    """Ends an epoch on rank 0, beside a rank 1 that holds `other` of `config`."""
    mine = SimpleNamespace(network=nn.Linear(2, 2).requires_grad_(), config={"width": 2})
    nn.init.ones_(mine.network.weight)
    nn.init.zeros_(mine.network.bias)
    second = (fingerprint(config or mine.config, nn.Identity()), fingerprint(None, other or mine.network))
    monkeypatch.setattr(ranks_agree, "gathered", lambda value: [value, second])
    RanksAgree().on_train_epoch_end(SimpleNamespace(world_size=2, current_epoch=4), mine)


def test_equal_ranks_go_on(monkeypatch):
    told(monkeypatch, None)


def test_other_weights_end_the_run(monkeypatch):
    with pytest.raises(UserError, match="after epoch 5 the weights of rank 1 are not those of rank 0"):
        told(monkeypatch, nn.Linear(2, 2))


def test_another_architecture_ends_the_run(monkeypatch):
    with pytest.raises(UserError, match="the architecture of rank 1 is not that of rank 0"):
        told(monkeypatch, None, {"width": 3})


def test_other_architecture_parameters_end_the_run(monkeypatch):
    """They decide what is found, and no weight tells of them."""
    network, theta = nn.Linear(2, 2), torch.zeros(3)
    mine = SimpleNamespace(network=network, config=None, structure_state=lambda: {"theta": theta})
    second = (fingerprint(None, nn.Identity()), fingerprint(None, network, {"theta": theta + 1e-7}))
    monkeypatch.setattr(ranks_agree, "gathered", lambda value: [value, second])
    with pytest.raises(UserError, match="the weights of rank 1"):
        RanksAgree().on_train_epoch_end(SimpleNamespace(world_size=2, current_epoch=0), mine)
