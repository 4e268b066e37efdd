"""Where the parts of a drawn cell lie: a wiring plan, in which no label lies on another however many edges there are.

Each state is a horizontal wire that starts at its node, each node a vertical bus that ends there. The operation on the
edge from state s to node i is a box at the crossing of wire s and bus i, several operations of one edge one below the
other: a wire goes in from the left, and out to the bus at the right.
"""

from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]

_BOX = 0.25, 0.87  # left and right of a box, from the bus of the column before
_TAP = 0.13
_BETWEEN, _BOX_HEIGHT, _PITCH = 0.42, 0.36, 0.46  # wire to first box; box; from box to box


class Box(NamedTuple):
    """One operation of one edge."""

    operation: str
    state: int
    node: int
    left: float
    right: float
    bottom: float
    top: float


class Plan(NamedTuple):
    """All parts of a drawing; y falls from 0, x grows from 0 at the inputs to `width` at the output."""

    boxes: list[Box]
    wires: list[list[Point]]
    arrows: list[tuple[float, float, str]]  # x, y, and where it points: right or down
    dots: list[Point]  # where a wire branches
    states: list[Point]  # where the wire of each state starts
    outputs: list[Point]  # where wires reach the output
    width: float
    depth: float


def cell_plan(nodes: Sequence[Sequence[tuple[str, int]]], concat: Sequence[int]) -> Plan:
    """The drawing of a cell: `nodes` are lists of [operation, state], `concat` the states that make the output."""
    edges = _edges(nodes)
    heights = [_row_height(state, edges) for state in range(2 + len(nodes))]
    wire = [-sum(heights[:state]) for state in range(2 + len(nodes))]  # y of each
    boxes, wires, arrows, dots, reach, highest = [], [], [], [], {}, {}
    for (node, state), names in edges.items():
        bus, tap, middles = node + 1.0, node + _TAP, []
        for place, name in enumerate(names):
            top = wire[state] - _BETWEEN - place * _PITCH
            boxes.append(Box(name, state, node, node + _BOX[0], node + _BOX[1], top - _BOX_HEIGHT, top))
            middles.append(top - _BOX_HEIGHT / 2)
            wires += [
                [(tap, middles[-1]), (node + _BOX[0], middles[-1])],
                [(node + _BOX[1], middles[-1]), (bus, middles[-1])],
            ]
            arrows.append((node + _BOX[0], middles[-1], "right"))
        wires.append([(tap, wire[state]), (tap, middles[-1])])
        highest[node] = max(highest.get(node, middles[0]), middles[0])
        dots.append((tap, wire[state]))
        reach[state] = max(reach.get(state, 0.0), tap)
    wires += [[(node + 1.0, top), (node + 1.0, wire[2 + node])] for node, top in highest.items()]
    arrows += [(node + 1.0, wire[2 + node] + 0.19, "down") for node in highest]
    width = len(nodes) + 0.75
    starts = [0.0, 0.0, *(node + 1.0 for node in range(len(nodes)))]
    for state, start in enumerate(starts):
        end = width if state in concat else reach.get(state, start)
        wires.append([(start, wire[state]), (end, wire[state])])
    outputs = [(width, wire[state]) for state in concat]
    arrows += [(x, y, "right") for x, y in outputs]
    return Plan(boxes, wires, arrows, dots, list(zip(starts, wire, strict=True)), outputs, width, -wire[-1])


def _edges(nodes: Sequence[Sequence[tuple[str, int]]]) -> dict[tuple[int, int], list[str]]:
    """The operations of each edge (node, state)."""
    edges: dict[tuple[int, int], list[str]] = {}
    for node, inputs in enumerate(nodes):
        for name, state in inputs:
            edges.setdefault((node, state), []).append(name)
    return edges


def _row_height(state: int, edges: dict[tuple[int, int], list[str]]) -> float:
    """What the wire of a state and the boxes below it take."""
    most = max((len(names) for (_, source), names in edges.items() if source == state), default=0)
    return 0.5 if not most else _BETWEEN + most * _PITCH + 0.2
