"""The squeezed channels of squeeze-and-excitation (Hu et al. 2018, https://arxiv.org/abs/1709.01507)."""

from src.graph.channel_graph import ChannelGraph


def squeezed_groups(graph: ChannelGraph) -> set[str]:
    """Groups that are written at one position only and read by what writes, at one position, into a larger map.

    So a hidden layer behind the pooling is none: what it is read by has no larger map.
    """
    mapped: set[int] = set()  # groups that have more than one position somewhere
    written: set[int] = set()
    for layer in graph.layers:
        outputs = {group for group, _ in layer.outputs}
        written |= outputs
        if layer.positions > 1:
            mapped |= outputs
    squeezed = set()
    for layer in graph.layers:
        if layer.positions == 1 and any(group in mapped for group, _ in layer.outputs):
            squeezed |= {group for group, _ in layer.inputs if group in written and group not in mapped}
    return {graph.groups[group].name for group in squeezed}
