"""Genotypes of elastic mobile networks: the largest, the smallest, and whether one belongs to a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from src.networks.elastic_mobile.macro import ElasticMacro, ElasticStage

KEYS = ("resolution", "width", "stem", "widths", "kernels", "expansions", "last")


def largest(macro: ElasticMacro) -> dict[str, Any]:
    """The genotype with the largest of every choice."""
    return _extreme(macro, max)


def smallest(macro: ElasticMacro) -> dict[str, Any]:
    """The genotype with the smallest of every choice."""
    return _extreme(macro, min)


def check_genotype(macro: ElasticMacro, genotype: Mapping[str, Any]) -> dict[str, Any]:
    """`genotype` as plain values, if it belongs to the space.

    Raises:
        UserError: a key or a value is not allowed; names the place, what is allowed and the nearest choice.
    """
    if not isinstance(genotype, Mapping):
        raise UserError(f"genotype={genotype!r} is not allowed; it must be a mapping with {', '.join(KEYS)}")
    for key in genotype:
        if key not in KEYS:
            raise UserError(f"genotype.{key} is not known; {did_you_mean(key, KEYS)}")
    for key in KEYS:
        if key not in genotype:
            raise UserError(f"genotype.{key} is missing; a genotype has {', '.join(KEYS)}")
    for key in ("widths", "kernels", "expansions"):
        _check_length(f"genotype.{key}", genotype[key], [len(macro.stages)], "stages")
    checked = {
        "resolution": _one_of("genotype.resolution", genotype["resolution"], macro.resolutions),
        "width": _one_of("genotype.width", genotype["width"], macro.multipliers),
        "stem": _one_of("genotype.stem", genotype["stem"], macro.stems),
        "widths": [],
        "kernels": [],
        "expansions": [],
        "last": _one_of("genotype.last", genotype["last"], macro.lasts),
    }
    for index, stage in enumerate(macro.stages):
        checked["widths"].append(_one_of(f"genotype.widths[{index}]", genotype["widths"][index], stage.widths))
        checked["kernels"].append(_of_blocks("kernels", index, genotype, stage, stage.kernels))
        checked["expansions"].append(_of_blocks("expansions", index, genotype, stage, stage.expansions))
        kernels, expansions = len(checked["kernels"][-1]), len(checked["expansions"][-1])
        if kernels != expansions:
            raise UserError(
                f"genotype.kernels[{index}] is for {kernels} blocks and genotype.expansions[{index}] for {expansions}; "
                "a stage has one of each for every block"
            )
    return checked


def _extreme(macro: ElasticMacro, of: Callable) -> dict[str, Any]:
    return {
        "resolution": of(macro.resolutions),
        "width": of(macro.multipliers),
        "stem": of(macro.stems),
        "widths": [of(stage.widths) for stage in macro.stages],
        "kernels": [[of(stage.kernels)] * of(stage.depths) for stage in macro.stages],
        "expansions": [[of(stage.expansions)] * of(stage.depths) for stage in macro.stages],
        "last": of(macro.lasts),
    }


def _of_blocks(name: str, index: int, genotype: Mapping, stage: ElasticStage, allowed: Sequence[int]) -> list[int]:
    where, given = f"genotype.{name}[{index}]", genotype[name][index]
    _check_length(where, given, stage.depths, "blocks")
    checked = [_one_of(f"{where}[{block}]", one, allowed) for block, one in enumerate(given)]
    if not stage.per_block and len(set(checked)) > 1:
        raise UserError(f"{where}={checked} is not allowed; all blocks of this stage share one, of {list(allowed)}")
    return checked


def _one_of(where: str, given: Any, allowed: Sequence[float]) -> float:
    """The choice that equals `given`; raises `UserError` with the nearest where none does."""
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    found = [choice for choice in allowed if number and choice == given]
    if not found:
        nearest = f"; the nearest is {min(allowed, key=lambda choice: abs(choice - given))}" if number else ""
        raise UserError(f"{where}={given!r} is not allowed; it must be one of {list(allowed)}{nearest}")
    return found[0]


def _check_length(where: str, given: Any, lengths: Sequence[int], of: str) -> None:
    if not isinstance(given, (list, tuple)) or len(given) not in lengths:
        many = " or ".join(map(str, lengths))
        raise UserError(f"{where}={given!r} is not allowed; it must be a list with an entry for each of {many} {of}")
