"""A found network whose weights lie in the run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from src.methods.weights import load_weights
from src.reporting.candidates import Candidate
from src.runtime.build import network_from


@dataclass(frozen=True)
class KeptNetwork:
    """name: of its file. candidate: of the front; None: one to compare with."""

    name: str
    config: dict[str, Any]
    weights: Path
    candidate: Candidate | None = None

    @classmethod
    def of(cls, candidate: Candidate, config: dict[str, Any], weights: Path) -> "KeptNetwork":
        return cls(name_of(candidate), config, weights, candidate)

    def network(self) -> nn.Module:
        network = network_from(self.config)
        load_weights(network, self.weights)
        return network.eval()


def name_of(candidate: Candidate) -> str:
    """The name of its files in the front's folder."""
    return f"candidate_{candidate.id}"
