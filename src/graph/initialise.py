"""Fresh values for resized weights, drawn like the model's own constructor drew them.

A model class may initialise its weights by any rule (He fan-out, a fixed deviation, torch's default ...), and a found
network must start from the same one, or the comparison with its base would compare initialisations. The rule is read
off the weights: over the layers of one type, deviation x sqrt(fan) is constant for the fan that the rule scales by.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

FANS = ("in", "out", "none")
SMALL = 64  # a weight with fewer entries says too little of its deviation


def fan(shape: tuple[int, ...], mode: str) -> float:
    """Fan in or out of a weight (O, I, ...), as torch.nn.init counts it: 1 for mode 'none' and for vectors."""
    if mode == "none" or len(shape) < 2:
        return 1.0
    positions = 1
    for size in shape[2:]:
        positions *= size
    return float((shape[1] if mode == "in" else shape[0]) * positions)


def fan_modes(model: nn.Module) -> dict[type, str]:
    """For convolutions and for linear layers: the fan that the model's initialisation scales the deviation by."""
    modes: dict[type, str] = {}
    for kind in (_ConvNd, nn.Linear):
        weights = [m.weight.detach() for m in model.modules() if isinstance(m, kind) and m.weight.numel() >= SMALL]
        deviations = [(w.float().std(), tuple(w.shape)) for w in weights]
        deviations = [(std, shape) for std, shape in deviations if std > 0]
        spread = {}
        for mode in FANS:
            logs = torch.tensor([float(std.log()) + 0.5 * torch.tensor(fan(s, mode)).log() for std, s in deviations])
            spread[mode] = float(logs.var()) if len(logs) > 1 else 0.0
        modes[kind] = min(FANS, key=spread.__getitem__)
    return modes


def redrawn(old: Tensor, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """A tensor of `shape` with the distribution of `old`: constant, uniform or normal; deviation times `scale`."""
    new = old.new_empty(shape)
    if not old.is_floating_point() or old.numel() == 0:
        return new.fill_(old.flatten()[0] if old.numel() else 0)
    values = old.detach().float()
    mean, deviation = values.mean(), values.std(correction=0)
    if deviation <= 1e-12 * (1 + mean.abs()):
        return new.fill_(values.flatten()[0])
    kurtosis = ((values - mean) / deviation).pow(4).mean()
    deviation = float(deviation) * scale
    if kurtosis < 2.4:  # 1.8 for a uniform distribution, 3 for a normal one
        return new.uniform_(-1, 1).mul_(deviation * 3**0.5).add_(mean)
    return new.normal_().mul_(deviation).add_(mean)


def redraw(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """New values for the named parameters and buffers of `model`, in their new shapes, from torch's global RNG."""
    modes = fan_modes(model)
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    new = {}
    for name, shape in shapes.items():
        owner = model.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, _NormBase) and name.endswith(("running_mean", "running_var")):
            new[name] = torch.full(shape, float(name.endswith("var")), device=tensors[name].device)
            continue
        mode = next((modes[kind] for kind in modes if isinstance(owner, kind)), "none")
        scale = 1.0
        if mode != "none":
            weight = f"{name.rpartition('.')[0]}.weight"  # a bias is drawn by the fan of its weight
            before = tuple(tensors[weight].shape)
            scale = (fan(before, mode) / fan(shapes.get(weight, before), mode)) ** 0.5
        new[name] = redrawn(tensors[name], shape, scale)
    return new
