"""What views, permutations, concatenations and cuts do to the channels."""

from math import prod
from typing import Any

from torch import fx

from src.graph.propagation import Channels, Propagation, Unknown, argument, moved, registry

RULES, _for = registry()


@_for("cat concat concatenate")
def concatenation(state: Propagation, node: fx.Node) -> Any:
    """Joins the segments of channels; along another dimension it ties the channels of all parts."""
    given = argument(node, 0, "tensors")
    parts = list(state.channels.get(given) or ()) if isinstance(given, fx.Node) else [state.of(x) for x in given]
    dim = argument(node, 1, "dim", 0)
    if not any(parts):
        return None
    if not all(parts) or len({part.axis for part in parts}) > 1 or any(part.split > 1 for part in parts):
        raise Unknown("of tensors of different layouts")
    axis = parts[0].axis
    if dim % len(state.shape(node)) == axis:
        return Channels(axis, tuple(segment for part in parts for segment in part.segments))
    for part in parts[1:]:
        state.widths.unify(parts[0].segments, part.segments, f"{node.name} joins layouts that cannot be tied")
    return parts[0]


@_for("cat_equal")
def equal_concatenation(state: Propagation, node: fx.Node) -> Any:
    """Makes the channels of all parts one width; where they are none of their own, as any concatenation."""
    parts = [state.of(value) for value in argument(node, 0, "tensors")]
    plain = all(part and part.axis == 1 == argument(node, 1, "dim", 1) and part.split == 1 for part in parts)
    whole = state.widths.equal_whole([part.segments for part in parts]) if plain else None
    return Channels(1, whole) if whole else concatenation(state, node)


@_for("chunk")
def chunk(state: Propagation, node: fx.Node) -> Any:
    given = state.of(node.args[0])
    count, dim = argument(node, 1, "chunks"), argument(node, 2, "dim", 0)
    if given is None:
        return None
    shapes = state.shape(node)
    if dim % len(state.shape(node.args[0])) != given.axis:
        return (given,) * len(shapes)
    part = state.widths.equal_parts(given.segments, count) if given.split == 1 else None
    if part is None:
        raise Unknown("into unequal parts")
    return (Channels(given.axis, part),) * count


@_for("split tensor_split split_with_sizes unbind")
def split(state: Propagation, node: fx.Node) -> Any:
    """Sizes written into the forward fix the width, unless they do not concern the channels."""
    given = state.of(node.args[0])
    dim = argument(node, 2, "dim", 0)
    if given is None:
        return None
    if dim % len(state.shape(node.args[0])) == given.axis or node.target == "unbind":
        raise Unknown("into sizes that the forward fixes")
    return (given,) * len(state.shape(node))


@_for("getitem")
def getitem(state: Propagation, node: fx.Node) -> Any:
    """An item of a tuple of tensors, or an index of a tensor that leaves its channels whole."""
    source, index = node.args
    found = state.channels.get(source)
    if isinstance(found, tuple):
        return found[index] if isinstance(index, (int, slice)) else None
    if not isinstance(found, Channels):
        return None
    entries = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in entries or found.split > 1:
        raise Unknown("of some of the channels")
    axis, old = 0, 0
    for entry in entries:
        if old == found.axis and entry is not None:
            if entry != slice(None):
                raise Unknown("of some of the channels")
            break
        if entry is None or isinstance(entry, slice):
            axis += 1
        old += entry is not None
    else:
        axis += found.axis - old
    return moved(found, axis)


@_for("expand expand_as")
def expansion(state: Propagation, node: fx.Node) -> Any:
    """Positions that are repeated; a number of channels that the forward writes is fixed by it."""
    given = state.of(node.args[0])
    if given is None:
        return None
    before, after = state.shape(node.args[0]), state.shape(node)
    axis = given.axis + len(after) - len(before)
    if node.target == "expand_as":
        other = state.of(node.args[1])
        if other is None or other.axis != axis:
            raise Unknown("a tensor of another layout")
        state.widths.unify(given.segments, other.segments, "it is expanded as a tensor of another layout")
        return moved(given, axis)
    sizes = node.args[1] if isinstance(node.args[1], (tuple, list)) else node.args[1:]
    if after[axis] != before[given.axis] or any(size == after[axis] for size in sizes) or given.split > 1:
        raise Unknown("to a size that the forward fixes")
    return moved(given, axis)


@_for("permute")
def permute(state: Propagation, node: fx.Node) -> Any:
    dims = node.args[1:] if isinstance(argument(node, 1, "dims"), int) else argument(node, 1, "dims")
    return permuted(state, node.args[0], dims)


@_for("transpose swapaxes")
def transpose(state: Propagation, node: fx.Node) -> Any:
    dims = list(range(len(state.shape(node))))
    a, b = argument(node, 1, "dim0"), argument(node, 2, "dim1")
    dims[a], dims[b] = dims[b], dims[a]
    return permuted(state, node.args[0], dims)


def permuted(state: Propagation, source: fx.Node, dims: Any) -> Any:
    """The channels after their axis has moved; the two axes of a channel shuffle may only be exchanged."""
    given = state.of(source)
    if given is None:
        return None
    dims = [dim % len(dims) for dim in dims]
    if given.split == 1:
        return moved(given, dims.index(given.axis))
    a = given.axis
    if dims == [*range(a), a + 1, a, *range(a + 2, len(dims))]:
        return Channels(a, given.segments, given.split, not given.shuffled)
    raise Unknown("in the middle of a channel shuffle")


@_for("flatten")
def flatten(state: Propagation, node: fx.Node) -> Any:
    return flattened(state, node, node.args[0], argument(node, 1, "start_dim", 0), argument(node, 2, "end_dim", -1))


def flattened(state: Propagation, node: fx.Node, source: fx.Node, start: int, end: int) -> Any:
    """Channels that are flattened with what stands to their right: each is repeated by the number of positions."""
    given, shape = state.of(source), state.shape(source)
    if given is None:
        return None
    start, end = start % len(shape), end % len(shape)
    if given.split > 1 or (start < given.axis <= end and prod(shape[start : given.axis]) > 1):
        raise Unknown("of positions before channels")
    if given.axis < start:
        return given
    if given.axis > end:
        return moved(given, given.axis - (end - start))
    return _repeated(given, start, prod(shape[given.axis + 1 : end + 1]))


def _repeated(given: Channels, axis: int, count: int) -> Channels:
    return Channels(axis, tuple((variable, times * count) for variable, times in given.segments))


@_for("squeeze unsqueeze")
def squeeze(state: Propagation, node: fx.Node) -> Any:
    """Dimensions of size 1 that come or go move the axis of the channels."""
    given, before, after = state.of(node.args[0]), state.shape(node.args[0]), state.shape(node)
    if given is None:
        return None
    if given.split > 1 or before[given.axis] == 1:
        raise Unknown("of a single channel")
    dim = argument(node, 1, "dim")
    if dim is None:
        return moved(given, given.axis - sum(size == 1 for size in before[: given.axis]))
    rank, step = max(len(before), len(after)), len(after) - len(before)
    dims = {each % rank for each in (dim if isinstance(dim, (tuple, list)) else [dim])}
    if step > 0:
        return moved(given, given.axis + sum(each <= given.axis for each in dims))
    return moved(given, given.axis - sum(each < given.axis and before[each] == 1 for each in dims))


@_for("view reshape")
def view(state: Propagation, node: fx.Node) -> Any:
    """Keeps the channels, flattens positions into them, or begins or ends a channel shuffle.

    A width that the forward writes as a number (`x.view(-1, 400)`) is fixed by it.
    """
    source = node.args[0]
    given, before, after = state.of(source), state.shape(source), state.shape(node)
    if given is None:
        return None
    sizes = node.args[1] if len(node.args) == 2 and not isinstance(node.args[1], (int, fx.Node)) else node.args[1:]
    axis, size = given.axis, before[given.axis]
    if tuple(before[:axis]) != tuple(after[:axis]) or len(after) <= axis or not isinstance(sizes, (tuple, list)):
        raise Unknown("across the channels")

    def follows(position: int) -> bool:
        return len(sizes) > position and (isinstance(sizes[position], fx.Node) or sizes[position] == -1)

    if given.split > 1:
        whole = before[axis] * before[axis + 1]
        if given.shuffled and after[axis] == whole and follows(axis):
            return Channels(axis, tuple((variable, times * given.split) for variable, times in given.segments))
        raise Unknown("in the middle of a channel shuffle")
    if after[axis] == size and follows(axis):
        return given
    count = prod(before[axis + 1 :])
    if after[axis] == size * count and prod(after[axis + 1 :]) == 1 and follows(axis):
        return _repeated(given, axis, count)
    if len(after) > axis + 1 and after[axis] == 1 and after[axis + 1] == size and follows(axis + 1):
        return moved(given, axis + 1)
    if len(after) > axis + 1 and after[axis] * after[axis + 1] == size and follows(axis + 1):
        part = state.widths.equal_parts(given.segments, after[axis])
        if part is not None and isinstance(sizes[axis], int):
            return Channels(axis, part, split=after[axis])
    raise Unknown("to a size that the forward fixes")
