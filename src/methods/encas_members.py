"""The networks of a pool: what they cost, and how they are built with their weights."""

from typing import Any

import pytorch_lightning as pl
from torch import nn

from src.cascades.pool import Member
from src.errors import UserError
from src.methods.final_training import check_accepts
from src.methods.weights import load_weights
from src.networks.cascade import Cascade
from src.networks.cascade_macs import counted_macs, fill_macs
from src.runtime.build import network_from
from src.runtime.members import GivenMember

CASCADE = f"{Cascade.__module__}.{Cascade.__name__}"


class PartOfData(pl.LightningDataModule):
    """One part of a data module, "validation" or "test", as what is predicted."""

    def __init__(self, data: pl.LightningDataModule, part: str) -> None:
        super().__init__()
        self.data, self.part = data, part

    def setup(self, stage: str | None = None) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)

    def predict_dataloader(self):
        return self.data.test_dataloader() if self.part == "test" else self.data.val_dataloader()


def member_network(given: GivenMember, input_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a member with its weights; raises `UserError` that names it where there is none."""
    try:
        network = network_from(given.config)
        load_weights(network, given.weights)
        check_accepts(network, input_shape)
    except UserError as error:
        raise UserError(f"member {given.name}: {error}") from error
    return network.eval()


def member_of(given: GivenMember, network: nn.Module, input_shape: tuple[int, int, int]) -> Member:
    """The member with its costs: MACs from the channel graph unless they are given, and parameters.

    Of a cascade the MACs are those of an image that runs all its members: what it costs on average is known once it has
    run.

    Raises:
        UserError: the MACs cannot be counted.
    """
    costs = {"params": sum(value.numel() for value in network.parameters()), **given.costs}
    if "macs" not in costs:
        costs["macs"] = _macs(given, network, input_shape)
    return Member(given.name, **costs, config=given.config, weights=str(given.weights))


def _macs(given: GivenMember, network: nn.Module, input_shape: tuple[int, int, int]) -> float:
    try:
        if isinstance(network, Cascade):
            fill_macs(network, input_shape)
            return network.average_macs([1] * len(network.counts()))
        return float(counted_macs(network, input_shape))
    except UserError as error:
        raise UserError(
            f"member {given.name}: its MACs cannot be counted ({error}); give it as "
            "{name: ..., model: ..., weights: ..., macs: ...}"
        ) from error


def cascade_config(members: list[Member], thresholds: list[float]) -> dict[str, Any] | None:
    """The model config of a cascade; None where a member is stored outputs only."""
    if any(member.config is None for member in members):
        return None
    return {
        "_target_": CASCADE,
        "members": [member.config for member in members],
        "thresholds": list(thresholds),
        "names": [member.name for member in members],
        "macs": [member.macs for member in members],
    }
