"""From what a search has learnt about each operation of a cell to a genotype: two rules of derivation.

top2: DARTS (https://arxiv.org/abs/1806.09055, section 2.3): of each node the two edges whose best operation has the
      largest score, each with that operation. `none` is never taken.
ard:  all operations whose noise does not drown them, log alpha < threshold; several of one edge are summed. Which rule
      VINNAS (https://arxiv.org/abs/2007.06103) uses is not known: this one is our reconstruction.

A cell puts all its nodes into its output. A node has an input, from an earlier state, whatever the scores: so each node
lies on a path from the inputs of the cell to its output.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.errors import check_choice
from src.networks.cell_operations import NONE
from src.networks.genotypes import CELL_TYPES, Genotype

RULES = ("top2", "ard")
_INPUTS = 2  # of a node by the rule top2


def derive(
    rule: str,
    scores: Tensor,
    log_alpha: Tensor | None,
    operations: Sequence[str],
    edges: Sequence[tuple[int, int]],
    threshold: float = 3.0,
    live: Tensor | None = None,
) -> Genotype:
    """The genotype of both cell types: per node its inputs [operation, state], in the order of edges and operations.

    Of equal scores the first edge and the first operation count more; a score that is no number counts least. Dead
    operations are taken only where a node has no other, and then the one of largest score.

    Args:
        rule: "top2" or "ard". A node of which top2 finds one edge alive has one input.
        scores: (T, E, O), the larger the better; by the rule ard they matter only where a node has nothing under the
            threshold: it takes its best one.
        log_alpha: (T, E, O), log of variance over squared mean; the rule top2 does not read it.
        operations: names of the O operations.
        edges: (node, state) of the E edges; states 0 and 1 are the inputs of the cell, state 2 + i is node i.
        threshold: of log alpha.
        live: (T, E, O) bool; None: all are.

    Raises:
        UserError: the rule is not known.
        ValueError: shapes do not fit, the rule ard has no `log_alpha`, or there is nothing but `none`.
    """
    check_choice("method.derivation.rule", rule, RULES)
    shape = (len(CELL_TYPES), len(edges), len(operations))
    given = {"scores": scores, "log_alpha": log_alpha, "live": live}
    for name, values in given.items():
        if values is not None and tuple(values.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(values.shape)}, not (T, E, O) = {shape}")
    if rule == "ard" and log_alpha is None:
        raise ValueError("the rule ard needs log_alpha")
    some = torch.tensor([name != NONE for name in operations])
    if not some.any():
        raise ValueError(f"nothing can be derived of operations {list(operations)}")
    scores = scores.detach().double().cpu().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    live = some.expand(shape) if live is None else live.cpu() & some
    wanted = live if rule == "top2" else live & (log_alpha.detach().cpu() < threshold)
    nodes = torch.tensor([node for node, _ in edges])
    genotype = {}
    for cell, name in enumerate(CELL_TYPES):
        taken = torch.zeros(shape[1:], dtype=torch.bool)
        for node in range(int(nodes.max()) + 1):
            own = (nodes == node).nonzero()[:, 0]
            taken[own] = _taken(rule, scores[cell, own], wanted[cell, own], live[cell, own], some)
        genotype[name] = _listed(taken, operations, edges)
    return genotype


def _taken(rule: str, scores: Tensor, wanted: Tensor, live: Tensor, some: Tensor) -> Tensor:
    """(E, O) bool: what one node takes. `some` (O,) is what may be taken of dead operations."""
    if not wanted.any():  # the best one: of those alive or, if there is none, of all
        return _best(scores, live if live.any() else some.expand_as(live), most=1)
    return wanted if rule == "ard" else _best(scores, wanted, most=_INPUTS)


def _best(scores: Tensor, allowed: Tensor, most: int) -> Tensor:
    """(E, O) bool: the best operation of each of the `most` best edges, of `allowed` ones only; the first of equals."""
    # two keys, so that an allowed score of -inf still comes before what is not allowed
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    order = order.gather(1, torch.sort(allowed.gather(1, order).int(), dim=1, descending=True, stable=True).indices)
    operation = order[:, :1]
    best, may = scores.gather(1, operation)[:, 0], allowed.gather(1, operation)[:, 0]
    ranked = torch.sort(best, descending=True, stable=True).indices
    chosen = ranked[may[ranked]][:most]
    taken = torch.zeros_like(allowed)
    taken[chosen, operation[chosen, 0]] = True
    return taken


def _listed(taken: Tensor, operations: Sequence[str], edges: Sequence[tuple[int, int]]) -> list[list[list]]:
    """`taken` (E, O) as a list of nodes, each a list of [operation, state]."""
    nodes: list[list[list]] = [[] for _ in range(max(node for node, _ in edges) + 1)]
    for edge, operation in taken.nonzero().tolist():
        node, state = edges[edge]
        nodes[node].append([operations[operation], int(state)])
    return nodes
