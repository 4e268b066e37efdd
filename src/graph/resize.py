"""`resized(model, widths)`: the same network with other channel widths. The `_target_` of a found architecture."""

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from src.errors import UserError
from src.graph.channel_graph import ChannelGraph, channel_graph
from src.graph.initialise import redraw
from src.graph.tracing import trace


def resized(
    model: nn.Module,
    widths: dict[str, int],
    input_shape: tuple[int, int, int],
    graph: ChannelGraph | None = None,
) -> nn.Module:
    """A copy of `model` in which each channel group of `widths` has its width; groups not named keep theirs.

    It is an instance of the user's own class with its own forward. Tensors whose shape stays keep their values, so at
    today's widths the result is the model, bit for bit; the others are drawn anew from torch's global RNG, with the
    distribution of the model's own initialisation.

    Args:
        model: any CNN that `channel_graph` takes.
        widths: group name -> width; the names are those of `channel_graph(model, input_shape).widths()`.
        input_shape: (C, H, W) of the images, which decides what a flatten multiplies.
        graph: the channel graph of `model`, if it is known already.

    Raises:
        UserError: for an unknown or frozen group, or a width that is not an admissible multiple.
    """
    graph = graph or channel_graph(model, input_shape)
    widths = graph.checked(dict(widths))
    model = copy.deepcopy(model)
    sizes = [widths.get(group.name, group.width) for group in graph.groups]
    tensors = dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])
    shapes: dict[str, list[int]] = {}
    for slot in graph.slots:
        size = sum(sizes[group] * times for group, times in slot.segments) // slot.divisor
        shapes.setdefault(slot.tensor, list(tensors[slot.tensor].shape))[slot.dim] = size
    changed = {name: tuple(s) for name, s in shapes.items() if tuple(s) != tuple(tensors[name].shape)}
    for name, values in redraw(model, changed).items():
        _replace(model, name, values)
    depthwise = {layer.name for layer in graph.layers if layer.kind == "depthwise"}
    for owner in {name.rpartition(".")[0] for name in changed}:
        describe(model.get_submodule(owner), owner in depthwise)
    for name, segments in graph.norms.items():
        describe_norm(model.get_submodule(name), int(sum(sizes[group] * times for group, times in segments)))
    return model


def check_resizable(model: nn.Module, graph: ChannelGraph) -> None:
    """Runs `model` at changed widths, on the meta device; raises `UserError` where its forward does not follow them.

    What a forward hides from the trace (a width that it computes from an attribute, say) would otherwise end a search
    in its second trial.
    """
    other = resized(model, {group.name: group.width + group.multiple for group in graph.free}, graph.input_shape, graph)
    try:
        trace(other, graph.input_shape)
    except UserError as error:
        raise UserError(f"the widths of this model cannot be changed: at other widths, {error}") from error


def _replace(model: nn.Module, name: str, values: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    old = getattr(module, leaf)
    if isinstance(old, nn.Parameter):
        values = nn.Parameter(values, requires_grad=old.requires_grad)
    setattr(module, leaf, values)


def describe(module: nn.Module, depthwise: bool) -> None:
    """Brings the attributes that describe a layer in line with its tensors."""
    if isinstance(module, _ConvNd):
        first, second = module.weight.shape[:2]
        if depthwise:
            module.groups = module.groups * first // module.out_channels
            module.in_channels, module.out_channels = module.groups, first
        elif module.transposed:
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.in_channels, module.out_channels = second * module.groups, first
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NormBase):
        module.num_features = _length(module)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = _length(module)


def describe_norm(module: nn.Module, size: int) -> None:
    """The same for group and layer norms, which need not have vectors that tell their width."""
    if isinstance(module, nn.GroupNorm):
        module.num_groups = size if module.num_groups == module.num_channels else module.num_groups
        module.num_channels = size
    else:
        module.normalized_shape = (size,)


def _length(module: nn.Module) -> int:
    """The number of channels that a normalisation's vectors have."""
    vectors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return next(len(vector) for vector in vectors if vector.dim() == 1)
