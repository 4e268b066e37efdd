"""What torch's layers do to the channels: one rule a family of modules."""

from math import prod
from typing import Any

from torch import fx, nn
from torch.nn.modules import activation, batchnorm, conv, dropout, instancenorm, padding, pooling
from torchvision.ops import StochasticDepth
from torchvision.ops.misc import Permute

from src.graph import shape_rules
from src.graph.propagation import Channels, Layer, Propagation, Rule, Unknown
from src.graph.segments import Segments
from src.graph.tracing import BATCH

RULES: dict[type, Rule] = {}


def _for(*kinds: type):
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def _input(state: Propagation, node: fx.Node) -> Channels | None:
    return state.of(node.args[0])


def _inputs(state: Propagation, node: fx.Node, axis: int, size: int) -> Segments:
    """What a layer reads at `axis`: the channels of its input, or a fixed width where those lie elsewhere."""
    given = _input(state, node)
    fits = given is not None and given.axis == axis and given.split == 1
    if fits and state.widths.size(state.widths.resolve(given.segments)) == size:
        return given.segments
    if given is not None:
        state.give_up(node, f"{type(state.model.get_submodule(node.target)).__name__} not over the channels alone")
    return state.widths.new(node.name, size, frozen="what it reads is fixed")


def _bind_layer(
    state: Propagation, node: fx.Node, sides: dict[int, tuple[Segments, int]], outputs: Segments, size: int
) -> None:
    """Ties the dimensions of the weight, {dim: (segments, divisor)}, the bias, and what a subclass adds.

    A subclass may hold one number for each output (the gain of a weight-standardised convolution), and names in
    `like_weight` what has a number for each weight (the variances of a variational layer). One that holds more (a mask)
    keeps its widths.
    """
    module, name = state.model.get_submodule(node.target), node.target
    like_weight = ("weight", *getattr(module, "like_weight", ()))
    for key in like_weight:
        for dim, (segments, divisor) in sides.items():
            state.bind(f"{name}.{key}", dim, segments, divisor)
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for key, tensor in own:
        if key in like_weight:
            continue
        if tensor.dim() and tensor.numel() == len(tensor) == size:
            state.bind(f"{name}.{key}", 0, outputs)
        elif tensor.numel() > 1:
            state.unknown.setdefault(f"{type(module).__name__} with {key}", name)
            for segments in (outputs, *(segments for segments, _ in sides.values())):
                state.widths.freeze(segments, f"{name}.{key} has a shape of its own")


@_for(conv._ConvNd)
def convolution(state: Propagation, node: fx.Node) -> Channels:
    """A convolution starts a group; a depthwise one continues that of its input; a grouped one asks for multiples."""
    module, name = state.model.get_submodule(node.target), node.target
    shape = state.shape(node)
    axis = len(shape) - 1 - len(module.kernel_size)
    inputs = _inputs(state, node, axis, module.in_channels)
    in_dim, out_dim = (0, 1) if module.transposed else (1, 0)
    groups, kernel = module.groups, prod(module.kernel_size)
    # over all but the channels: positions, and what a forward has folded into the batch
    whole, channels = (state.shape(node.args[0]), module.in_channels) if module.transposed else (shape, shape[axis])
    positions = prod(whole) // (BATCH * channels)
    if groups > 1 and groups == module.in_channels and not module.transposed:
        outputs = tuple((variable, times * (module.out_channels // groups)) for variable, times in inputs)
        kind, sides = "depthwise", {0: (outputs, 1)}
    else:
        kind = "transposed" if module.transposed else "grouped" if groups > 1 else "conv"
        outputs = state.bound(f"{name}.weight", out_dim) or state.widths.new(name, module.out_channels)
        per_group = (groups, 1) if not module.transposed else (1, groups)
        sides = {in_dim: (inputs, per_group[0]), out_dim: (outputs, per_group[1])}
        for side in (inputs, outputs) if groups > 1 else ():
            state.widths.demand_multiple(side, groups, f"{name} has {groups} groups")
    _bind_layer(state, node, sides, outputs, module.out_channels)
    state.layers.append(Layer(name, kind, inputs, outputs, groups, kernel, positions))
    return Channels(axis, outputs)


@_for(nn.Linear)
def linear(state: Propagation, node: fx.Node) -> Channels:
    """A linear layer over the channel dimension, which must be the last one."""
    module, name = state.model.get_submodule(node.target), node.target
    shape = state.shape(node)
    inputs = _inputs(state, node, len(shape) - 1, module.in_features)
    outputs = state.bound(f"{name}.weight", 0) or state.widths.new(name, module.out_features)
    _bind_layer(state, node, {0: (outputs, 1), 1: (inputs, 1)}, outputs, module.out_features)
    state.layers.append(Layer(name, "linear", inputs, outputs, 1, 1, prod(shape[:-1]) // BATCH))
    return Channels(len(shape) - 1, outputs)


def _bind_vectors(state: Propagation, name: str, module: nn.Module, given: Channels, size: int) -> None:
    """Ties every vector of `size` entries that the module holds (weight, bias, running statistics)."""
    for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if tuple(tensor.shape) == (size,):
            state.bind(f"{name}.{key}", 0, given.segments)


@_for(batchnorm._BatchNorm, instancenorm._InstanceNorm)
def batch_norm(state: Propagation, node: fx.Node) -> Channels:
    module, given = state.model.get_submodule(node.target), _input(state, node)
    if given is None or given.axis != 1 or given.split > 1:
        raise Unknown("over something other than the channels")
    _bind_vectors(state, node.target, module, given, module.num_features)
    return given


@_for(nn.GroupNorm)
def group_norm(state: Propagation, node: fx.Node) -> Channels:
    """Keeps the number of groups, so the width stays a multiple of it (one group a channel follows the width)."""
    module, given = state.model.get_submodule(node.target), _input(state, node)
    if given is None or given.axis != 1 or given.split > 1:
        raise Unknown("over something other than the channels")
    _bind_vectors(state, node.target, module, given, module.num_channels)
    state.norms[node.target] = given.segments
    if 1 < module.num_groups < module.num_channels:
        reason = f"{node.target} normalises {module.num_groups} groups"
        state.widths.demand_multiple(given.segments, module.num_groups, reason)
    return given


@_for(nn.LayerNorm)
def layer_norm(state: Propagation, node: fx.Node) -> Channels | None:
    """Over the channels where its shape is theirs. A subclass may permute by itself (LayerNorm2d)."""
    module, given = state.model.get_submodule(node.target), _input(state, node)
    if given is None:
        return None
    over = given.axis - (len(state.shape(node)) - len(module.normalized_shape))
    size = state.widths.size(state.widths.resolve(given.segments))
    if type(module) is not nn.LayerNorm and module.normalized_shape == (size,):
        over = 0
    if over < 0:
        return given
    if len(module.normalized_shape) > 1:
        raise Unknown("over more than the channels")
    _bind_vectors(state, node.target, module, given, size)
    state.norms[node.target] = given.segments
    return given


@_for(nn.PReLU)
def prelu(state: Propagation, node: fx.Node) -> Channels | None:
    module, given = state.model.get_submodule(node.target), _input(state, node)
    if given is not None and module.num_parameters > 1:
        _bind_vectors(state, node.target, module, given, module.num_parameters)
    return given


_POOLS = [kind for kind in vars(pooling).values() if isinstance(kind, type) and "Pool" in kind.__name__]
_PADS = [kind for kind in vars(padding).values() if isinstance(kind, type) and "Pad" in kind.__name__]
_ACTIVATIONS = [
    kind
    for kind in vars(activation).values()
    if isinstance(kind, type)
    and issubclass(kind, nn.Module)
    and kind not in (nn.Module, nn.MultiheadAttention, nn.GLU, nn.PReLU)
]


@_for(*_POOLS, *_PADS, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def positions_only(state: Propagation, node: fx.Node) -> Any:
    """Pooling, padding and resampling change positions and never channels."""
    given = _input(state, node)
    if given is not None and given.split > 1:
        raise Unknown("in the middle of a channel shuffle")
    if given is not None and state.shape(node)[given.axis] != state.shape(node.args[0])[given.axis]:
        raise Unknown("over the channels")
    return given


@_for(*_ACTIVATIONS, dropout._DropoutNd, nn.Identity, StochasticDepth)
def elementwise(state: Propagation, node: fx.Node) -> Any:
    return state.channels.get(node.args[0]) if node.args else None


@_for(nn.Flatten)
def flatten(state: Propagation, node: fx.Node) -> Any:
    module = state.model.get_submodule(node.target)
    return shape_rules.flattened(state, node, node.args[0], module.start_dim, module.end_dim)


@_for(Permute)
def permute(state: Propagation, node: fx.Node) -> Any:
    return shape_rules.permuted(state, node.args[0], state.model.get_submodule(node.target).dims)
