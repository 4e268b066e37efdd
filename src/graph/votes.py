"""Which (layer, in | out) weights speak for which width group (CONet's constraint resolution).

A vote says: the rank of this unfolding of this layer's weight measures this width. The halves of one convolution (the
parts of a `cat_equal`) have one voice, the mean of their votes.
"""

from torch import fx

from src.errors import check_choice
from src.graph.channel_graph import ChannelGraph
from src.graph.equal_parts import cat_equal
from src.graph.propagation import Layer
from src.graph.segments import Segments

RULES = ("corrected", "released")
Vote = tuple[str, str]  # (layer name, "in" or "out")
Voice = tuple[Vote, ...]  # whose mean counts once


def votes(graph: ChannelGraph, rule: str = "corrected") -> dict[str, list[Voice]]:
    """The voices of every free group of `graph`.

    "corrected": each side of each ungrouped convolution votes for the group that it reads or writes, where that is one
    group alone. Linear layers vote only for groups that no convolution votes for.

    "released": as CONet's released code has it for ResNets and for networks of cells. The 1x1 shortcuts do not vote,
    and at a stage boundary the convolution beside a shortcut votes with its input side for the stage that it leads
    into, although it reads the width of the stage before. The stem votes for a width that it alone writes, and then
    nobody else does. Linear layers do not vote.
    """
    check_choice("votes", rule, RULES)
    ballot: dict[str, list[Voice]] = {group.name: [] for group in graph.free}
    convolutions = {layer.name: layer for layer in graph.layers if layer.kind == "conv"}
    shortcuts, moved = _stage_boundaries(graph) if rule == "released" else (set(), {})
    stems, theirs = _stems(graph, convolutions) if rule == "released" else (set(), {})
    together = _together(graph, convolutions)
    for layer in convolutions.values():
        members = together.get(layer.name, (layer.name,))
        if layer.name in shortcuts or layer.name != members[0]:
            continue
        reads = moved.get(layer.name) or _alone(graph, layer.inputs)
        for name, side in ((reads, "in"), (_alone(graph, layer.outputs), "out")):
            heard = theirs[name] == layer.name if name in theirs else layer.name not in stems
            if name in ballot and heard:
                ballot[name].append(tuple((member, side) for member in members))
    if rule == "corrected":
        silent = {name for name, voices in ballot.items() if not voices}
        for layer in graph.layers:
            for segments, side in ((layer.inputs, "in"), (layer.outputs, "out")):
                name = _alone(graph, segments, repeated=True)
                if layer.kind == "linear" and name in silent:
                    ballot[name].append(((layer.name, side),))
    return ballot


def _alone(graph: ChannelGraph, segments: Segments, repeated: bool = False) -> str | None:
    """The one group that makes up `segments`, if it is one alone."""
    if len(segments) == 1 and (segments[0][1] <= 1 or repeated):
        return graph.groups[segments[0][0]].name
    return None


def _stems(graph: ChannelGraph, convolutions: dict[str, Layer]) -> tuple[set[str], dict[str, str]]:
    """The convolutions that read the image, and of each group that one of them alone writes its name."""
    stems, writers = set(), {}
    for layer in convolutions.values():
        if any(graph.groups[group].frozen == "it is the input" for group, _ in layer.inputs):
            stems.add(layer.name)
        for group, _ in layer.outputs:
            writers.setdefault(graph.groups[group].name, set()).add(layer.name)
    return stems, {group: stem for stem in stems for group, names in writers.items() if names == {stem}}


def _together(graph: ChannelGraph, convolutions: dict[str, Layer]) -> dict[str, tuple[str, ...]]:
    """Of each convolution whose output is a part of one dimension all that make it up, the first one first."""
    found = {}
    for node in graph.trace.graph.nodes:
        if node.target is cat_equal:
            ends = [_last_layer(part, convolutions) for part in node.args[0]]
            if None not in ends:
                members = tuple(dict.fromkeys(end.target for end in ends))
                found.update(dict.fromkeys(members, members))
    return found


def _stage_boundaries(graph: ChannelGraph) -> tuple[set[str], dict[str, str]]:
    """The shortcut convolutions, and for the convolutions beside them the group of the stage that they lead into."""
    layers = {layer.name: layer for layer in graph.layers if layer.kind != "linear"}
    shortcuts: set[str] = set()
    moved: dict[str, str] = {}
    for node in graph.trace.graph.nodes:
        ends = [_last_layer(value, layers) for value in _added(node)]
        if len(ends) != 2 or None in ends:
            continue
        for shortcut, main in (ends, ends[::-1]):
            fork, first = _source(shortcut), main
            while first is not None and _source(first) is not fork:
                first = _last_layer(_source(first), layers)
            if first is None or first in (main, shortcut) or fork is None:
                continue
            stage = _alone(graph, layers[shortcut.target].outputs)
            shortcuts.add(shortcut.target)
            if stage:
                moved[first.target] = stage
    return shortcuts, moved


def _added(node: fx.Node) -> list[fx.Node]:
    """The tensors that an addition adds; empty for anything else."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    added = node.op in ("call_function", "call_method") and name.rstrip("_") in ("add", "iadd")
    return [value for value in node.args[:2] if isinstance(value, fx.Node)] if added else []


def _source(layer: fx.Node) -> fx.Node:
    """The tensor that a layer reads, before the activation or normalisation that may stand between."""
    return layer.args[0]


def _last_layer(node: fx.Node | None, layers: dict[str, Layer]) -> fx.Node | None:
    """The convolution that `node` comes from through ops with one input; None where an addition or the input is met."""
    while node is not None and not (node.op == "call_module" and node.target in layers):
        inputs = node.all_input_nodes
        node = inputs[0] if len(inputs) == 1 and node.op in ("call_module", "call_function", "call_method") else None
    return node
