"""The squeezed channels of squeeze-and-excitation (Hu et al. 2018, https://arxiv.org/abs/1709.01507)."""

from torch import fx, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd

from src.graph.channel_graph import ChannelGraph

_REDUCTIONS = ("mean", "sum", "amax")
_SPATIAL = {-1, -2, 2, 3}


def squeezed_groups(graph: ChannelGraph, model: nn.Module) -> set[str]:
    """Groups that only layers behind a pooling of the whole map write, and one such layer reads to gate a map.

    So a hidden layer of the classifier is none: what reads it gates nothing. Positions would not tell: on small images
    the last stage of a network has one position too.
    """
    pooled = _pooled_layers(graph, model)
    written = {group: set() for group in range(len(graph.groups))}  # whether pooled layers, or others, write it
    for layer in graph.layers:
        for group, _ in layer.outputs:
            written[group].add(layer.name in pooled)
    squeezed = set()
    for layer in graph.layers:
        if layer.name in pooled and any(False in written[group] for group, _ in layer.outputs):
            squeezed |= {graph.groups[group].name for group, _ in layer.inputs if written[group] == {True}}
    return squeezed


def _pooled_layers(graph: ChannelGraph, model: nn.Module) -> set[str]:
    """Modules that are called on what comes from poolings of whole maps alone."""
    pooled: set[fx.Node] = set()
    for node in graph.trace.graph.nodes:
        sources = [source for source in node.all_input_nodes if graph.trace.shapes.get(source)]
        if _pools(node, model) or (sources and pooled.issuperset(sources)):
            pooled.add(node)
    return {str(node.target) for node in pooled if node.op == "call_module"}


def _pools(node: fx.Node, model: nn.Module) -> bool:
    """Whether a node makes one value of each map."""
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), (_AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd))
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    if name in _REDUCTIONS:
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else ())
        return not isinstance(dims, (int, bool)) and bool(dims) and set(dims) <= _SPATIAL
    return str(name).startswith("adaptive_")
