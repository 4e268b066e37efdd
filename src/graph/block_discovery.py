"""Blocks of a network that are found in its graph, without a list of classes.

Two neighbours among the ops that are on every path bound a region with one entry and one exit. Where ops lie between
them, paths part and join again there: a residual block, an inception module. The module in whose forward the join
stands is a block, and so is every other module of its class (the blocks of that network which have no shortcut). What
joins by a product is a gate (squeeze-and-excitation) and no block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from src.graph.data_flow import PRODUCTS, DataFlow, within


@dataclass(frozen=True)
class Region:
    """The ops of a block, as numbers of a `DataFlow`: all of them, and those that compute with its parameters."""

    ops: tuple[int, ...]
    parametric: tuple[int, ...]


def discovered_blocks(model: nn.Module, flow: DataFlow, on_every_path: Sequence[int]) -> dict[str, Region]:
    """Module path -> region; a region that the model's own forward joins has the names of its first and last op."""
    of_modules: set[str] = set()
    found: dict[str, Region] = {}
    for entry, join in pairwise(on_every_path):
        between = [op for op in range(entry + 1, join + 1) if flow.reaches(entry, op) and flow.reaches(op, join)]
        parametric = [op for op in between if op in flow.parameters]
        if len(between) < 2 or not parametric or flow.nodes[join].target in PRODUCTS:
            continue
        enclosing = frozenset.intersection(*(flow.stacks[op] for op in between))
        if enclosing:
            of_modules.add(max(enclosing, key=lambda path: path.count(".")))
        else:
            found[f"{flow.nodes[between[0]].name}..{flow.nodes[join].name}"] = Region(tuple(between), tuple(parametric))
    classes = {type(model.get_submodule(path)) for path in of_modules}
    alike = [path for path, module in model.named_modules() if path and type(module) in classes]
    outermost = [path for path in alike if not any(path != outer and within(path, outer) for outer in alike)]
    taken = {op for region in found.values() for op in region.ops}
    for path in outermost:
        owned = flow.owned(path)
        if owned and not taken.intersection(owned):  # a region of the model's own forward is one block
            found[path] = Region(tuple(sorted({*flow.inside(path), *owned})), tuple(owned))
    return found
