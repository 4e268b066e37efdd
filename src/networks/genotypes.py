"""What a cell is, as plain data: published cells, and the check of given ones.

A genotype is {"normal": [node, ...], "reduce": [node, ...]}. A node is the sum of its inputs [operation, state]: states
0 and 1 are the outputs of the two cells before, state 2 + i is node i of this cell. `normal_concat` and
`reduce_concat`, the states that make up the output of the cell, are all nodes where they are not given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from src.errors import UserError, check_choice
from src.networks.cell_operations import NONE, OPERATIONS

CELL_TYPES = ("normal", "reduce")
Genotype = dict[str, list]

# Liu et al. 2019, https://arxiv.org/abs/1806.09055, figures 4 and 5: found with first and with second order steps.
DARTS_V1: Genotype = {
    "normal": [
        [["sep_conv_3x3", 1], ["sep_conv_3x3", 0]],
        [["skip_connect", 0], ["sep_conv_3x3", 1]],
        [["skip_connect", 0], ["sep_conv_3x3", 1]],
        [["sep_conv_3x3", 0], ["skip_connect", 2]],
    ],
    "reduce": [
        [["max_pool_3x3", 0], ["max_pool_3x3", 1]],
        [["skip_connect", 2], ["max_pool_3x3", 0]],
        [["max_pool_3x3", 0], ["skip_connect", 2]],
        [["skip_connect", 2], ["avg_pool_3x3", 0]],
    ],
}
DARTS_V2: Genotype = {
    "normal": [
        [["sep_conv_3x3", 0], ["sep_conv_3x3", 1]],
        [["sep_conv_3x3", 0], ["sep_conv_3x3", 1]],
        [["sep_conv_3x3", 1], ["skip_connect", 0]],
        [["skip_connect", 0], ["dil_conv_3x3", 2]],
    ],
    "reduce": [
        [["max_pool_3x3", 0], ["max_pool_3x3", 1]],
        [["skip_connect", 2], ["max_pool_3x3", 1]],
        [["max_pool_3x3", 0], ["skip_connect", 2]],
        [["skip_connect", 2], ["max_pool_3x3", 1]],
    ],
}
# Liang et al. 2019, https://arxiv.org/abs/1909.06035, found on CIFAR-100; as CONet searches its widths.
DARTS_PLUS_CIFAR100: Genotype = {
    "normal": [
        [["skip_connect", 0], ["sep_conv_3x3", 1]],
        [["skip_connect", 0], ["sep_conv_5x5", 2]],
        [["sep_conv_3x3", 1], ["sep_conv_3x3", 3]],
        [["sep_conv_3x3", 2], ["sep_conv_3x3", 4]],
    ],
    "reduce": [
        [["max_pool_3x3", 0], ["skip_connect", 1]],
        [["max_pool_3x3", 0], ["dil_conv_5x5", 2]],
        [["max_pool_3x3", 0], ["dil_conv_5x5", 3]],
        [["max_pool_3x3", 0], ["skip_connect", 2]],
    ],
}
PUBLISHED: dict[str, Genotype] = {
    "DARTS_V1": DARTS_V1,
    "DARTS_V2": DARTS_V2,
    "DARTS_PLUS_CIFAR100": DARTS_PLUS_CIFAR100,
}


def cell_edges(nodes: int) -> list[tuple[int, int]]:
    """(node, state) of each edge of a full cell, E = sum_i (2 + i) of them: node 0 from states 0, 1; node 1 from ..."""
    return [(node, state) for node in range(nodes) for state in range(2 + node)]


def checked_genotype(genotype: Mapping[str, Any] | str, where: str = "model.genotype") -> Genotype:
    """A genotype of plain lists with both concatenations, from one that is given by its name or written out.

    Raises `UserError` that names `where` in the config.
    """
    if isinstance(genotype, str):
        genotype = PUBLISHED[check_choice(where, genotype, PUBLISHED)]
    keys = [*CELL_TYPES, *(f"{cell}_concat" for cell in CELL_TYPES)]
    if not isinstance(genotype, Mapping) or not set(CELL_TYPES) <= set(genotype):
        given = sorted(genotype) if isinstance(genotype, Mapping) else genotype
        raise UserError(f"{where}={given!r} is not allowed; it must have the cells normal and reduce, or be a name")
    for key in genotype:
        check_choice(f"a key of {where}", key, keys)
    found = {cell: _nodes(f"{where}.{cell}", genotype[cell]) for cell in CELL_TYPES}
    for cell in CELL_TYPES:
        states = genotype.get(f"{cell}_concat")
        found[f"{cell}_concat"] = _concat(f"{where}.{cell}_concat", states, len(found[cell]))
    return found


def _nodes(where: str, nodes: Any) -> list[list[list]]:
    if not _is_list(nodes) or not nodes:
        raise UserError(f"{where}={nodes!r} is not allowed; it must be a list of nodes, one at least")
    return [_node(f"{where}[{number}]", inputs, number) for number, inputs in enumerate(nodes)]


def _node(where: str, inputs: Any, number: int) -> list[list]:
    if not _is_list(inputs) or not inputs:
        raise UserError(f"{where}={inputs!r} is not allowed; a node has one input [operation, state] at least")
    found = []
    for place, pair in enumerate(inputs):
        if not _is_list(pair) or len(pair) != 2:
            raise UserError(f"{where}[{place}]={pair!r} is not allowed; it must be [operation, state]")
        operation, state = pair
        check_choice(f"{where}[{place}][0]", operation, [name for name in OPERATIONS if name != NONE])
        if type(state) is not int or not 0 <= state < number + 2:
            raise UserError(
                f"{where}[{place}][1]={state!r} is not allowed; node {number} reads states 0 to {number + 1}"
            )
        found.append([operation, state])
    if len({tuple(pair) for pair in found}) < len(found):
        raise UserError(f"{where}={found!r} is not allowed; it has an input twice")
    return found


def _concat(where: str, states: Any, nodes: int) -> list[int]:
    if states is None:
        return list(range(2, nodes + 2))
    allowed = _is_list(states) and len(set(states)) == len(states) > 0
    if not allowed or any(type(state) is not int or not 2 <= state < nodes + 2 for state in states):
        raise UserError(f"{where}={states!r} is not allowed; it must list nodes by their states, 2 to {nodes + 1}")
    return list(states)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
