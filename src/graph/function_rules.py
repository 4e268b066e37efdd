"""What functions and tensor methods do to the channels, looked up by name: torch.relu, F.relu and x.relu() are one.

What moves, joins or cuts dimensions stands in `shape_rules`.
"""

from math import prod
from typing import Any

from torch import fx

from src.graph.propagation import Channels, Layer, Propagation, Unknown, argument, moved, registry
from src.graph.tracing import BATCH

RULES, _for = registry()


@_for("conv1d conv2d conv3d linear")
def functional_layer(state: Propagation, node: fx.Node) -> Any:
    """A convolution or linear map with a weight that no layer holds: its widths stay, its MACs count."""
    shape, weight = state.shape(node), state.shape(node.args[1])
    found = state.give_up(node, f"{node.target.__name__} with a weight of its own")
    axis = len(shape) - 1 if len(weight) == 2 else 1
    inputs, outputs = (state.widths.new(node.name, size, frozen="a weight of its own") for size in weight[1::-1])
    positions = prod(shape) // (BATCH * shape[axis])
    state.layers.append(Layer(node.name, "functional", inputs, outputs, 1, prod(weight[2:]), positions))
    return found


@_for(
    "relu relu6 hardswish hardsigmoid hardtanh silu gelu sigmoid logsigmoid tanh elu selu celu leaky_relu mish "
    "softplus softsign threshold dropout dropout1d dropout2d dropout3d alpha_dropout stochastic_depth "
    "drop_path neg abs exp log sqrt rsqrt pow clamp sign square softmax log_softmax normalize contiguous clone "
    "detach to float half bfloat16 double type type_as requires_grad"
)
def elementwise(state: Propagation, node: fx.Node) -> Any:
    others = [value for value in node.args[1:] if isinstance(value, fx.Node) and state.shape(value)]
    if not isinstance(node.args[0], fx.Node) or others:
        return arithmetic(state, node)  # 2 ** x, clamp(x, low): a second tensor, or the first is none
    return state.channels.get(node.args[0])


@_for(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate upsample pad"
)
def positions_only(state: Propagation, node: fx.Node) -> Any:
    """Pooling and resampling; padding unless it adds channels."""
    given = state.of(node.args[0])
    if given is not None and given.split > 1:
        raise Unknown("in the middle of a channel shuffle")
    return given


@_for("size getattr dim numel ndimension _assert floordiv eq ne lt gt le ge")
def plain_value(state: Propagation, node: fx.Node) -> None:
    """Numbers about a tensor have no channels. (An attribute that is a tensor, `.T` say, is not known.)"""
    if isinstance(state.shape(node), tuple) and state.shape(node):
        raise Unknown
    return None


@_for("add sub mul div truediv iadd isub imul itruediv maximum minimum rsub add_relu")
def arithmetic(state: Propagation, node: fx.Node) -> Any:
    """Ties the channels of both sides, aligned from the right as in broadcasting."""
    shape = state.shape(node)
    if not isinstance(shape, tuple):
        return None  # arithmetic on plain numbers
    result: Channels | None = None
    for value in node.args[:2]:
        given = state.of(value)
        if given is None:
            continue
        if given.split > 1:
            raise Unknown("in the middle of a channel shuffle")
        offset = len(shape) - len(state.shape(value))
        given = moved(given, given.axis + offset)
        if shape[given.axis] != state.shape(value)[given.axis - offset]:
            # one channel broadcast over many (a spatial attention map): that one stays one
            state.widths.freeze(given.segments, "it is broadcast over the channels")
            continue
        if result is None:
            result = given
        elif result.axis == given.axis:
            state.widths.unify(result.segments, given.segments, f"{node.name} adds layouts that cannot be tied")
        else:
            raise Unknown("of channels in different dimensions")
    if result is not None:
        for value in node.args[:2]:
            _bind_operand(state, node, value, result)
    return result


def _bind_operand(state: Propagation, node: fx.Node, value: Any, channels: Channels) -> None:
    """A parameter or another tensor without channels of its own (layer scale, say) beside one that has them."""
    if not isinstance(value, fx.Node) or state.of(value) is not None:
        return
    shape, whole = state.shape(value), state.shape(node)
    dim = channels.axis - (len(whole) - len(shape)) if isinstance(shape, tuple) else -1
    if dim < 0 or shape[dim] != whole[channels.axis] or whole[channels.axis] == 1:
        return
    if value.op == "call_method" and value.target in ("view", "reshape", "unsqueeze") and -1 in value.args[1:]:
        # gamma.reshape(1, -1, 1, 1): a vector that is brought into place
        value, dim = value.args[0], 0
        if len(state.shape(value)) > 1:
            raise Unknown("with a tensor of unknown layout")
    if state.frozen(channels.segments):
        return  # a width that cannot change anyway: the images' own mean, say
    if value.op != "get_attr" or not state.resizable(value.target):
        raise Unknown("with a tensor of unknown layout")
    state.bind(value.target, dim, channels.segments)


@_for("mean sum amax amin logsumexp")
def reduction(state: Propagation, node: fx.Node) -> Any:
    """Over positions it keeps the channels; over channels none are left."""
    given = state.of(node.args[0])
    dims = argument(node, 1, "dim", argument(node, 1, "axis"))
    keep = argument(node, 2, "keepdim", False)
    if given is None:
        return None
    rank = len(state.shape(node.args[0]))
    dims = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    dims = {dim % rank for dim in dims}
    if given.split > 1:
        raise Unknown("in the middle of a channel shuffle")
    if given.axis in dims:
        return state.fixed(node, given.axis, "it is a sum over channels") if keep else None
    return moved(given, given.axis - (0 if keep else sum(dim < given.axis for dim in dims)))
