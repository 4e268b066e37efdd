"""The super-net of DARTS cells: every edge of a cell carries all operations, each multiplied by a gate.

Liu et al. 2019, https://arxiv.org/abs/1806.09055, section 2.2. What the gates are (a softmax, Gaussian variables of a
posterior) is the caller's: x_j = sum over edges (i, j) and operations o of gate_{ij,o} * o(x_i). Operations that are
not live are skipped; `none` is never computed.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, cat, nn

from src.errors import UserError, check_choices, check_flag, check_whole
from src.networks.cell_network import CellNetwork, CellShape, CellSkeleton
from src.networks.cell_operations import NONE, OPERATIONS, cell_operation
from src.networks.genotypes import CELL_TYPES, cell_edges, checked_genotype

SMALLEST_VARIANCE = 1e-16  # the slope of the square root at zero is infinite


class MixedCell(nn.Module):
    """A cell with all operations on all edges: outputs of two cells -> (B, nodes * channels, H / s, W / s)."""

    def __init__(self, operations: Sequence[str], nodes: int, shape: CellShape, skip_norm: bool) -> None:
        super().__init__()
        self.kind = CELL_TYPES.index(shape.kind)
        self.stride = 2 if shape.reduces else 1
        self.preprocess0, self.preprocess1 = shape.preprocesses(affine=False)
        self.edges = nn.ModuleList()
        for _, state in cell_edges(nodes):
            stride = self.stride if state < 2 else 1
            made = (
                nn.Identity() if name == NONE else cell_operation(name, shape.channels, stride, False, True, skip_norm)
                for name in operations
            )
            self.edges.append(nn.ModuleList(made))

    def forward(
        self,
        before_last: Tensor,
        last: Tensor,
        gates: Sequence[Tensor],
        variances: Sequence[Tensor] | None,
        live: Sequence[Sequence[Sequence[tuple[int, int]]]],
    ) -> Tensor:
        """`gates` and `variances` are of all cell types, flat; `live` has of each node and state the operations that
        run, as (number of the operation, place of its gate)."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        edge = 0
        for node in live:
            mean = variance = None
            for state, runs in enumerate(node):
                for operation, place in runs:
                    y = self.edges[edge][operation](states[state])
                    mean = _added(mean, y, gates[place])
                    if variances is not None:
                        variance = _added(variance, y.float().square(), variances[place])
                edge += 1
            if mean is None:
                mean = torch.zeros_like(states[1][:, :, :: self.stride, :: self.stride])
            elif variance is not None:
                noise = torch.randn_like(variance) * variance.clamp_min(SMALLEST_VARIANCE).sqrt()
                mean = mean + noise.to(mean.dtype)
            states.append(mean)
        return cat(states[2:], dim=1)


class CellSupernet(CellSkeleton):
    """All networks of a cell space at once: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        operations: O names of `OPERATIONS`, in the order of the gates.
        channels, layers, num_classes, in_channels, reductions, stem_multiplier: as `CellNetwork` has them.
        nodes: of each cell.
        normalise_outputs: a batch norm without parameters behind every operation that has none (skip connections that
            keep the resolution), so that no operation is louder than another.

    Attributes:
        edges: (node, state) of the E edges of a cell.

    Raises:
        UserError: a value is not allowed, named as the config has it.
    """

    def __init__(
        self,
        operations: Sequence[str],
        channels: int = 16,
        layers: int = 8,
        nodes: int = 4,
        num_classes: int = 10,
        in_channels: int = 3,
        reductions: Sequence[int] | None = None,
        stem_multiplier: int = 3,
        normalise_outputs: bool = False,
    ) -> None:
        names = check_choices("operations", operations, OPERATIONS)
        if not set(names) - {NONE} or len(names) < len(operations):
            raise UserError(f"operations={list(operations)} is not allowed; give operations but {NONE}, none twice")
        check_whole("nodes", nodes, 1, 20)
        check_flag("normalise_outputs", normalise_outputs)
        super().__init__(
            channels,
            layers,
            num_classes,
            in_channels,
            reductions,
            stem_multiplier,
            dict.fromkeys(CELL_TYPES, nodes),
            lambda shape: MixedCell(names, nodes, shape, normalise_outputs),
        )
        self.operations, self.nodes, self.edges = names, nodes, cell_edges(nodes)
        self.arguments = {
            "channels": channels,
            "layers": layers,
            "num_classes": num_classes,
            "in_channels": in_channels,
            "reductions": self.reductions,
            "stem_multiplier": stem_multiplier,
            "normalise_outputs": normalise_outputs,
        }
        self.set_live(None)

    @property
    def gates_shape(self) -> tuple[int, int, int]:
        """(T, E, O): cell types normal and reduce, edges, operations."""
        return len(CELL_TYPES), len(self.edges), len(self.operations)

    def set_live(self, mask: Tensor | None) -> None:
        """Operations where `mask` (T, E, O) is False are skipped from now on; None: all run. Not in the state dict."""
        if mask is None:
            mask = torch.ones(self.gates_shape, dtype=torch.bool, device="cpu")
        if tuple(mask.shape) != self.gates_shape:
            raise ValueError(f"a mask of shape {tuple(mask.shape)} for operations of shape {self.gates_shape}")
        computed = [operation for operation, name in enumerate(self.operations) if name != NONE]
        edges, count = len(self.edges), len(self.operations)
        self.live = []
        for kind, rows in enumerate(mask.tolist()):
            nodes = [[] for _ in range(self.nodes)]
            for edge, (node, _) in enumerate(self.edges):
                first = (kind * edges + edge) * count
                nodes[node].append([(operation, first + operation) for operation in computed if rows[edge][operation]])
            self.live.append(nodes)

    def forward(self, images: Tensor, gates: Tensor, variances: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes).

        Args:
            images: (B, in_channels, H, W).
            gates: (T, E, O), or (B, T, E, O) of each image its own: what the outputs of the operations are multiplied
                by.
            variances: (T, E, O): each node gets noise on each activation besides, of variance
                sum(variance * o(x)^2), from torch's global generator (local reparameterisation). The variance is
                computed in float32 whatever the precision.
        """
        for name, given in (("gates", gates), ("variances", variances)):
            if given is not None and tuple(given.shape[-3:]) != self.gates_shape:
                raise ValueError(f"{name} of shape {tuple(given.shape)} for operations of shape {self.gates_shape}")
        before_last = last = self.stem(images)
        factors = _unbound(gates)
        spreads = None if variances is None else _unbound(variances)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last, factors, spreads, self.live[cell.kind])
        return self.head(last)

    def extracted(self, genotype: Mapping[str, Any] | str) -> CellNetwork:
        """The network of a genotype, with copies of the modules of this super-net, in the mode of this.

        In evaluation mode it computes what the super-net computes with gates 1 at the genotype and only these
        operations live. Raises `UserError` for a genotype that is not in this super-net.
        """
        genotype = checked_genotype(genotype, "genotype")
        for kind in CELL_TYPES:
            if len(genotype[kind]) != self.nodes or len(genotype[f"{kind}_concat"]) != self.nodes:
                raise UserError(f"the {kind} cell of the genotype has not the {self.nodes} nodes of the super-net")
            for node in genotype[kind]:
                check_choices("an operation of the genotype", [name for name, _ in node], self.operations)
        with torch.device("meta"):
            network = CellNetwork(genotype, **self.arguments, affine=False, pool_norm=True)
        for part in ("stem", "pool", "classifier"):
            setattr(network, part, copy.deepcopy(getattr(self, part)))
        places = {edge: number for number, edge in enumerate(self.edges)}
        for made, cell in zip(network.cells, self.cells, strict=True):
            made.preprocess0, made.preprocess1 = copy.deepcopy(cell.preprocess0), copy.deepcopy(cell.preprocess1)
            for node, inputs in enumerate(genotype[CELL_TYPES[cell.kind]]):
                for position, (name, state) in enumerate(inputs):
                    source = cell.edges[places[node, state]][self.operations.index(name)]
                    made.nodes[node][position] = copy.deepcopy(source)
        return network.train(self.training)


def _unbound(gates: Tensor) -> tuple[Tensor, ...]:
    """Each gate by itself: numbers (), or of each image (B, 1, 1, 1). One op for all, forward and backward."""
    if gates.dim() == 3:
        return gates.flatten().unbind()
    return gates.flatten(1).t()[:, :, None, None, None].unbind()


def _added(total: Tensor | None, y: Tensor, gate: Tensor) -> Tensor:
    """total + gate * y in the dtype of y, in place: neither addition nor product is looked at by the backward pass."""
    y = y * (gate if gate.dim() == 0 else gate.to(y.dtype))
    return y if total is None else total.add_(y)
