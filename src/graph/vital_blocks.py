"""Vital blocks: those without which the output of a network no longer depends on its input.

HourNAS (Yang et al. 2021, https://arxiv.org/abs/2005.14446): the paths from input to output share a few blocks, the
narrow neck of the network; blocks with a shortcut are not among them. Here a block is vital when removing its
parametric ops (convolution, linear, norm, ...) from the graph of ops cuts the output off. That is a cut by a group of
ops: no single op of a block with a projection shortcut is on every path, all of them together are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from torch import nn

from src.errors import UserError, did_you_mean
from src.graph.block_discovery import Region, discovered_blocks
from src.graph.data_flow import DataFlow, data_flow, within
from src.graph.dominators import dominator_chain
from src.graph.tracing import Trace, trace


@dataclass(frozen=True)
class VitalBlocks:
    """What `vital_blocks` finds.

    Args:
        blocks: the paths of all blocks in the order in which they run; of a discovered block that no module holds, the
            names of its first and last op.
        vital: those of them that are vital.
        ops: the paths of the parametric ops outside all blocks that are on every path: stem, head and the like.
        regions: of each block its ops.
    """

    blocks: tuple[str, ...]
    vital: tuple[str, ...]
    ops: tuple[str, ...]
    regions: dict[str, Region] = field(repr=False)
    flow: DataFlow = field(repr=False)

    @property
    def flags(self) -> tuple[bool, ...]:
        """Of each block whether it is vital."""
        vital = set(self.vital)
        return tuple(block in vital for block in self.blocks)


def vital_blocks(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    blocks: str | Sequence[str] | None = None,
    parameter_free_shortcuts: bool = True,
) -> VitalBlocks:
    """The vital blocks of `model` for images of `input_shape` = (C, H, W).

    Args:
        blocks: the paths of modules, or names of classes of which every module is a block; None: they are discovered
            (see `src.graph.block_discovery`).
        parameter_free_shortcuts: False: a shortcut that subsamples, pads or pools (option A of He et al. 2016) is no
            way around a block, only one that passes on all values is.

    Raises `UserError` where the network cannot be traced, and for a block that is not there or does not run.
    """
    return vital_blocks_of(model, trace(model, input_shape), blocks, parameter_free_shortcuts)


def vital_blocks_of(
    model: nn.Module,
    traced: Trace,
    blocks: str | Sequence[str] | None = None,
    parameter_free_shortcuts: bool = True,
) -> VitalBlocks:
    """As `vital_blocks`, of a model that has been traced."""
    flow = data_flow(traced, model)
    end = len(flow.nodes) - 1
    if not flow.nodes or flow.nodes[-1].op != "output":
        raise UserError(f"{type(model).__name__} has no vital blocks: its output does not depend on its input")
    on_every_path = dominator_chain(flow.successors, 0, end)
    if blocks is None:
        regions = discovered_blocks(model, flow, on_every_path)
    else:
        regions = _chosen(model, flow, [blocks] if isinstance(blocks, str) else list(blocks))
    regions = dict(sorted(regions.items(), key=lambda item: min(item[1].ops, default=end)))
    vital = []
    for name, region in regions.items():
        broken = () if parameter_free_shortcuts else _resampling(flow, region)
        if not flow.reaches(0, end, region.parametric, broken):
            vital.append(name)
    taken = set(chain.from_iterable(region.parametric for region in regions.values()))
    outside = (flow.parameters[op] for op in on_every_path if op in flow.parameters and op not in taken)
    ops = tuple(dict.fromkeys(chain.from_iterable(outside)))
    return VitalBlocks(tuple(regions), tuple(vital), ops, regions, flow)


def _resampling(flow: DataFlow, region: Region) -> set[tuple[int, int]]:
    """The edges into ops of a region on which values are lost or invented."""
    inside = set(region.ops)
    edges = ((before, after) for after in inside for before in flow.predecessors[after])
    return {edge for edge in edges if flow.resamples(*edge)}


def _chosen(model: nn.Module, flow: DataFlow, names: list[str]) -> dict[str, Region]:
    """The regions of modules that are given by path or by the name of their class."""
    modules = {path: type(module).__name__ for path, module in model.named_modules() if path}
    found: dict[str, Region] = {}
    for name in names:
        if name in modules:
            found[name] = _region(flow, name)
            if not found[name].ops:
                raise UserError(f"block {name!r} is not run in the forward of {type(model).__name__}")
            continue
        paths = [path for path, kind in modules.items() if kind == name]
        if not paths:
            nearest = did_you_mean(name, modules) if name.count(".") else did_you_mean(name, set(modules.values()))
            raise UserError(f"{type(model).__name__} has no block {name!r}, neither a module nor a class; {nearest}")
        regions = {path: _region(flow, path) for path in paths}
        found |= {path: region for path, region in regions.items() if region.parametric}
    nested = next(
        ((inner, outer) for inner in found for outer in found if inner != outer and within(inner, outer)), None
    )
    if nested:
        raise UserError(f"block {nested[0]!r} lies within block {nested[1]!r}; blocks must not hold one another")
    return found


def _region(flow: DataFlow, path: str) -> Region:
    owned = flow.owned(path)
    return Region(tuple(sorted({*flow.inside(path), *owned})), tuple(owned))
