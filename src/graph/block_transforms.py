"""Where the values of a block's own ops come out: what lesions reset.

Of y = F(x) + x that is the branch F(x), before the sum, the activation and the like; found in the graph of ops, so that
nothing has to be known of the class of a block.
"""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from src.graph.data_flow import PRODUCTS, DataFlow
from src.graph.vital_blocks import VitalBlocks


@dataclass(frozen=True)
class Transform:
    """Where the values of a block's parametric ops come out: the op, the dimension and the number of its channels."""

    op: int
    dim: int
    channels: int


def transforms(found: VitalBlocks) -> dict[str, tuple[Transform, ...]]:
    """Of each block the outputs of its parametric ops: what would be cut off without them, where it leaves or joins.

    The mask stands before the activation, the dropout and the like that follow. A block has one such output, or one
    for each of its additions (attention and MLP of a transformer), or none (it has no parametric ops).
    """
    flow, found_at = found.flow, {}
    for block, region in found.regions.items():
        silenced = set(region.parametric)
        dead = {op for op in region.ops if op in silenced or not flow.reaches(0, op, silenced)}
        ends = [op for op in dead if any(after not in dead for after in flow.successors[op])]
        ends = sorted({_before_activation(flow, op, dead) for op in ends})
        found_at[block] = tuple(_transform(flow, op) for op in ends)
    return found_at


def _before_activation(flow: DataFlow, op: int, dead: set[int]) -> int:
    while op not in flow.parameters and len(flow.predecessors[op]) == 1:
        before = flow.predecessors[op][0]
        shape = flow.trace.shapes.get(flow.nodes[before])
        if before not in dead or len(flow.successors[before]) > 1 or not all(isinstance(size, int) for size in shape):
            break
        op = before
    return op


def _transform(flow: DataFlow, op: int) -> Transform:
    shape, dim = flow.trace.shapes[flow.nodes[op]], _channel_dim(flow, op)
    return Transform(op, dim, shape[dim])


def _channel_dim(flow: DataFlow, op: int) -> int:
    """The dimension of the channels of what `op` gives: 1 behind convolutions, the last one behind linear layers."""
    node, shape = flow.nodes[op], flow.trace.shapes[flow.nodes[op]]
    if node.op == "call_module":
        kind = (node.meta.get("nn_module_stack") or {}).get(node.target, (None, type(None)))[1]
        if issubclass(kind, (nn.Linear, nn.MultiheadAttention)):
            return -1
        if issubclass(kind, (_ConvNd, _NormBase, nn.GroupNorm)) or kind.__name__.endswith("2d"):
            return 1
        if issubclass(kind, nn.LayerNorm):
            return -1
    if node.target in PRODUCTS and op in flow.parameters:  # with a scale, whose shape tells
        scale = next(flow.trace.shapes[source] for source in node.all_input_nodes if source not in flow.nodes)
        long = [place - len(scale) for place, size in enumerate(scale) if size > 1]
        if len(long) == 1:
            return long[0] % len(shape)
    name = getattr(node.target, "__name__", str(node.target))
    if name in ("linear", "layer_norm", "scaled_dot_product_attention"):
        return -1
    before = [source for source in flow.predecessors[op] if _dims(flow, source) in (len(shape), None)]
    if "conv" not in name and before and (op not in flow.parameters or len(shape) == 4):
        return _channel_dim(flow, before[0]) if _dims(flow, before[0]) else -1
    return 1 if len(shape) == 4 else -1


def _dims(flow: DataFlow, op: int) -> int | None:
    shape = flow.trace.shapes.get(flow.nodes[op])
    return len(shape) if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape) else None
