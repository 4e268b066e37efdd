"""The ops through which every path from input to output leads.

They are the dominators of the output in the sense of flow graphs (Lengauer and Tarjan 1979); in a graph without circles
whose nodes are numbered along its edges one sweep finds them: a node is on every path iff no edge jumps over it.
"""

from collections.abc import Sequence


def dominator_chain(successors: Sequence[Sequence[int]], start: int, end: int) -> list[int]:
    """The nodes on every path from `start` to `end`, both included, in order; empty where there is no path.

    `successors`: of each node the nodes behind it, with larger numbers.
    """
    forward = _marked(successors, start, end)
    backward = [False] * len(successors)
    backward[end] = True
    for node in range(end - 1, start - 1, -1):
        backward[node] = any(after <= end and backward[after] for after in successors[node])
    chain: list[int] = []
    furthest = start  # the furthest that an edge from before this node leads to
    for node in range(start, end + 1):
        if forward[node] and backward[node]:
            if furthest <= node:
                chain.append(node)
            furthest = max([furthest, *(after for after in successors[node] if after <= end and backward[after])])
    return chain


def _marked(successors: Sequence[Sequence[int]], start: int, end: int) -> list[bool]:
    marked = [False] * len(successors)
    marked[start] = True
    for node in range(start, end):
        if marked[node]:
            for after in successors[node]:
                marked[after] = True
    return marked
