"""Model configs of networks of cells, with variational layers around them or without, and the genotypes in them."""

from collections.abc import Mapping
from typing import Any

from src.networks.genotypes import CELL_TYPES
from src.spaces.space import Genotype
from src.variational.conversion import variational

_VARIATIONAL = f"{variational.__module__}.{variational.__name__}"


def inner_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of the network that is inside variational ones."""
    inside = config.get("_target_") == _VARIATIONAL and isinstance(config.get("model"), Mapping)
    return inner_config(config["model"]) if inside else config


def with_variational_weights(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the same network with variational weights; settings: as `variational` has them."""
    return {"_target_": _VARIATIONAL, "model": dict(config), **settings}


def with_genotype(config: Mapping[str, Any], genotype: Genotype) -> dict[str, Any]:
    """`config` with another genotype of the network inside."""
    if config.get("_target_") == _VARIATIONAL:
        return {**config, "model": with_genotype(config["model"], genotype)}
    return {**config, "genotype": genotype}


def plain_genotype(genotype: Mapping[str, Any]) -> Genotype:
    """A checked genotype as plain lists, with the concatenations only where they are not all nodes."""
    found = {cell: [[list(pair) for pair in node] for node in genotype[cell]] for cell in CELL_TYPES}
    for cell in CELL_TYPES:
        states = list(genotype[f"{cell}_concat"])
        if states != list(range(2, 2 + len(found[cell]))):
            found[f"{cell}_concat"] = states
    return found
