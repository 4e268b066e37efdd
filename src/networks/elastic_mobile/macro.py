"""Reads the space of an elastic mobile super-net: a name, or a mapping such as a config holds."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from src.errors import UserError, check_choice, check_flag, check_range, check_whole, did_you_mean
from src.networks.elastic_mobile.description import ElasticMacro, ElasticStage, make_divisible
from src.networks.elastic_mobile.families import FAMILIES
from src.networks.elastic_mobile.genotypes import check_genotype, largest, smallest

__all__ = ["ElasticMacro", "ElasticStage", "check_genotype", "largest", "macro_of", "make_divisible", "smallest"]

ACTIVATIONS = ("relu", "relu6", "h_swish", "swish")
SHRINKINGS = ("transform", "centre")  # how a large kernel gives the smaller ones
MOST = 10_000  # channels, pixels, blocks, and whatever else is chosen
SHORTCUTS = ("equal", "projected")  # where a block has one


def macro_of(space: str | Mapping | ElasticMacro, **changes: Any) -> ElasticMacro:
    """The macro of a named space, or of a mapping with the fields of `ElasticMacro`.

    A mapping with `family` starts from that named space and changes the fields that it has. `changes` win over both.

    Raises:
        UserError: an unknown name or field, a field that is missing or a value that is not allowed, named as the config
            has it (`model.space.stages[1].kernels`).
    """
    if isinstance(space, ElasticMacro):
        space = space.plain()
    if isinstance(space, str):
        space = {"family": space}
    if not isinstance(space, Mapping):
        raise UserError(f"model.space={space!r} is not allowed; it must be a name ({', '.join(FAMILIES)}) or a mapping")
    given = {str(key): value for key, value in {**space, **changes}.items()}
    family = given.pop("family", None)
    if family is not None:
        given = {**FAMILIES[check_choice("model.space", family, FAMILIES)], **given}
    given = _known("model.space", given, ElasticMacro)
    stages = given["stages"]
    if not isinstance(stages, (list, tuple)) or not stages or not all(isinstance(one, Mapping) for one in stages):
        raise UserError(f"model.space.stages={stages!r} is not allowed; it must be a list of mappings, one a stage")
    return ElasticMacro(
        resolutions=_choices("model.space.resolutions", given["resolutions"]),
        multipliers=factors("model.space.multipliers", given["multipliers"]),
        stems=_choices("model.space.stems", given["stems"]),
        stem_stride=check_whole("model.space.stem_stride", given["stem_stride"], 1, 2),
        activation=check_choice("model.space.activation", given["activation"], ACTIVATIONS),
        stages=tuple(_stage(f"model.space.stages[{index}]", stage) for index, stage in enumerate(stages)),
        lasts=_choices("model.space.lasts", given["lasts"]),
        head_expansion=check_whole("model.space.head_expansion", given["head_expansion"], 0, MOST),
        shrinking=check_choice("model.space.shrinking", given["shrinking"], SHRINKINGS),
        shortcuts=check_choice("model.space.shortcuts", given["shortcuts"], SHORTCUTS),
        divisor=check_whole("model.space.divisor", given["divisor"], 1, MOST),
        epsilon=check_range("model.space.epsilon", given["epsilon"], 1e-12, 1),
    )


def _stage(where: str, given: Mapping) -> ElasticStage:
    given = _known(where, {str(key): value for key, value in given.items()}, ElasticStage)
    kernels = _choices(f"{where}.kernels", given["kernels"])
    if any(kernel % 2 == 0 for kernel in kernels):
        raise UserError(f"{where}.kernels={list(kernels)} is not allowed; kernels have odd sides, such as 3, 5 and 7")
    expansions = _choices(f"{where}.expansions", given["expansions"])
    if expansions[0] == 1 and len(expansions) > 1:
        raise UserError(f"{where}.expansions={list(expansions)} is not allowed; 1 stands alone or not at all")
    return ElasticStage(
        widths=_choices(f"{where}.widths", given["widths"]),
        depths=_choices(f"{where}.depths", given["depths"]),
        kernels=kernels,
        expansions=expansions,
        stride=check_whole(f"{where}.stride", given["stride"], 1, 2),
        activation=check_choice(f"{where}.activation", given["activation"], ACTIVATIONS),
        squeeze=check_flag(f"{where}.squeeze", given["squeeze"]),
        per_block=check_flag(f"{where}.per_block", given["per_block"]),
    )


def _known(where: str, given: dict[str, Any], kind: type) -> dict[str, Any]:
    """`given` with the defaults of the dataclass `kind`; raises `UserError` for a field too many or too few."""
    names = [field.name for field in fields(kind)]
    for name in given:
        if name not in names:
            raise UserError(f"{where}.{name} is not known; {did_you_mean(name, names)}")
    filled = {name: kind.__dict__[name] for name in names if name in kind.__dict__} | given
    missing = [name for name in names if name not in filled]
    if missing:
        raise UserError(f"{where}.{missing[0]} is missing; a space has {', '.join(names)}")
    return filled


def _choices(where: str, given: Any) -> tuple[int, ...]:
    """Whole numbers of at least 1 in increasing order; one number is a list of one."""
    given = [given] if isinstance(given, int) else given
    if not isinstance(given, (list, tuple)) or not given:
        raise UserError(f"{where}={given!r} is not allowed; it must be a list of whole numbers of at least 1")
    return tuple(sorted({check_whole(where, one, 1, MOST) for one in given}))


def factors(where: str, given: Any) -> tuple[float, ...]:
    """Positive numbers in increasing order; one number is a list of one."""
    given = [given] if isinstance(given, (int, float)) else given
    if not isinstance(given, (list, tuple)) or not given:
        raise UserError(f"{where}={given!r} is not allowed; it must be a list of numbers, such as [1.0, 1.2]")
    return tuple(sorted({float(check_range(where, one, 0.01, 100)) for one in given}))
