"""Any network with variational layers, and back. `variational` is the `_target_` of a variational model config."""

import copy

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from src.errors import UserError, check_flag, check_range
from src.variational.layers import VariationalConv2d, VariationalLayer, VariationalLinear


def variational(
    model: nn.Module, init_log_sigma2: float = -10.0, threshold: float = 3.0, stem: bool = True
) -> nn.Module:
    """A copy of `model` whose convolutions and linear layers are variational; the means are the model's weights.

    Args:
        model: with convolutions of two dimensions and linear layers of torch; layers that are variational stay.
        init_log_sigma2: where log sigma^2 starts: -10 from scratch, -15 from trained weights in the released code of
            sparse VD.
        threshold: on log alpha; weights at or above it are 0 in evaluation mode.
        stem: whether the first convolution of the model (in the order of definition) is made variational too.

    Raises:
        UserError: a value that is not allowed, or a convolution or linear layer with a forward of its own.
    """
    check_range("model.init_log_sigma2", init_log_sigma2)
    check_range("model.threshold", threshold)
    check_flag("model.stem", stem)
    model = copy.deepcopy(model)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (_ConvNd, nn.Linear))}
    first = next((m for m in layers.values() if isinstance(m, _ConvNd)), None)
    new = {}
    for name, layer in layers.items():
        if not isinstance(layer, VariationalLayer) and (stem or layer is not first):
            new[layer] = _variational_layer(name, layer, init_log_sigma2, threshold)
    return replaced(model, new)


def deterministic(model: nn.Module) -> nn.Module:
    """A copy of `model` with plain layers in place of the variational ones, which hold theta where live, else 0."""
    model = copy.deepcopy(model)
    return replaced(model, {layer: _plain_layer(layer) for layer in variational_layers(model).values()})


def variational_layers(model: nn.Module) -> dict[str, VariationalLayer]:
    """Path -> layer, of the variational layers of `model`; a layer that is shared comes once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, VariationalLayer)}


def _variational_layer(name: str, layer: nn.Module, log_sigma2: float, threshold: float) -> VariationalLayer:
    kind = VariationalConv2d if isinstance(layer, nn.Conv2d) else VariationalLinear
    plain = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    methods = ("forward", "_conv_forward") if plain is nn.Conv2d else ("forward",)
    own = not isinstance(layer, plain) or any(getattr(type(layer), key) is not getattr(plain, key) for key in methods)
    # torch's own subclasses are read from outside (the projection of an attention), not called
    foreign = type(layer) is not plain and type(layer).__module__.startswith("torch.")
    if own or foreign or "weight" not in layer._parameters:
        raise UserError(
            f"model: {name} is a {type(layer).__name__}, which cannot be made variational; "
            "allowed are nn.Conv2d and nn.Linear with the forward of torch"
        )
    new = _with_tensors_of(layer, kind(*_arguments(layer), **_options(layer), threshold=threshold))
    new.log_sigma2 = nn.Parameter(torch.full_like(layer.weight, log_sigma2))
    new.kept = torch.ones_like(layer.weight, dtype=torch.bool)
    return new


def _plain_layer(layer: VariationalLayer) -> nn.Module:
    kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    new = _with_tensors_of(layer, kind(*_arguments(layer), **_options(layer)))
    new.weight = nn.Parameter((layer.weight * layer.live()).detach(), requires_grad=layer.weight.requires_grad)
    return new


def _arguments(layer: nn.Module) -> tuple:
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
    return layer.in_features, layer.out_features


def _options(layer: nn.Module) -> dict:
    options = {"bias": layer.bias is not None, "device": "meta"}  # nothing is drawn: the tensors come from `layer`
    if isinstance(layer, nn.Conv2d):
        options |= {"dilation": layer.dilation, "groups": layer.groups, "padding_mode": layer.padding_mode}
    return options


def _with_tensors_of(layer: nn.Module, new: nn.Module) -> nn.Module:
    new.weight, new.bias = layer.weight, layer.bias
    return new.train(layer.training)


def replaced(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """`model` itself with other modules in the place of some of its own, wherever they stand."""
    if model in new:
        return new[model]
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):  # named_children() leaves out the second name of a layer
            if child in new:
                setattr(module, name, new[child])
    return model
