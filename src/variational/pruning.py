"""Which operations of a super-net are dropped for good (VINNAS; that they wait some epochs is reconstructed)."""

import torch
from torch import Tensor


def dropped(log_alpha: Tensor, live: Tensor, over: Tensor, patience: int, node_of_edge: Tensor) -> Tensor:
    """The operations that go now: live, and over the threshold for `patience` epochs; never the last one of a node.

    Where all live operations of a node would go, the one of smallest log alpha stays.

    Args:
        log_alpha, live: (T, E, O).
        over: (T, E, O) whole numbers, for how many epochs on end an operation has been over the threshold.
        node_of_edge: (E,) whole numbers: the node that an edge leads to.

    Returns:
        bool (T, E, O).
    """
    going = live & (over >= patience)
    staying = live & ~going
    for node in node_of_edge.unique():
        edges = node_of_edge == node
        bare = going[:, edges].flatten(1).any(1) & ~staying[:, edges].flatten(1).any(1)  # (T,)
        candidates = log_alpha[:, edges].masked_fill(~live[:, edges], torch.inf).flatten(1)
        saved = torch.zeros_like(candidates, dtype=torch.bool)
        saved.scatter_(1, candidates.argmin(dim=1, keepdim=True), bare[:, None])
        going[:, edges] &= ~saved.view_as(going[:, edges])
    return going
