"""The test of vital blocks that needs no graph: silence a block and look whether the output still sees the input."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from src.errors import UserError, did_you_mean

IMAGES = 4  # that calibrate the batch norms
TINY = 0.1  # scales of equal values up to this are at their initialisation, which would hide what lies behind them


@torch.no_grad()
def vital_by_zeros(model: nn.Module, input_shape: tuple[int, int, int], blocks: Sequence[str], seed: int = 0) -> tuple:
    """Those of `blocks` (module paths) without whose values two random images give exactly the same output.

    The parametric leaves of the block give zeros and its parameters are zero. It runs in float64 on a copy of `model`
    whose batch norms are calibrated with random images, whose small scales are 1 and whose zero weights random, so
    that nothing underflows.
    A product with a silenced branch looks vital, which the graph does not say (a sigmoid gate does not: it gives 0.5).

    Raises `UserError` where there is no such block, or the whole model does not tell the two images apart.
    """
    copied = copy.deepcopy(model).cpu().double().eval()
    modules = dict(copied.named_modules())
    for block in blocks:
        if block not in modules:
            raise UserError(f"{type(model).__name__} has no module {block!r}; {did_you_mean(block, modules)}")
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(IMAGES, *input_shape, generator=generator, dtype=torch.float64)
    _calibrate(copied, draw)
    if _same_output(copied, draw):
        raise UserError(
            f"{type(model).__name__} gives two random images the same output: it shows nothing of its blocks"
        )
    found = []
    for block in blocks:
        with _silenced(modules[block]):
            if _same_output(copied, draw):
                found.append(block)
    return tuple(found)


def _calibrate(model: nn.Module, images: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for name, parameter in model.named_parameters():
        vector = parameter.numel() == max(parameter.shape, default=1)
        if vector and not name.endswith("bias") and (parameter == parameter.flatten()[0]).all():
            parameter[parameter.abs() <= TINY] = 1.0
        elif parameter.dim() > 1 and not parameter.any():  # an untrained head that begins at zero, as a ViT's
            generator = torch.Generator().manual_seed(parameter.numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    model(images)
    model.eval()


def _same_output(model: nn.Module, images: Tensor) -> bool:
    first, second = (tree_leaves(model(images[i : i + 1])) for i in range(2))  # one by one: the same sums in both
    if not all(output.isfinite().all() for output in first + second if isinstance(output, Tensor)):
        raise UserError(f"{type(model).__name__} gives random images NaN or infinity: it shows nothing of its blocks")
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True) if isinstance(a, Tensor))


@contextmanager
def _silenced(block: nn.Module) -> Iterator[None]:
    """The block's leaves give zeros; where its parameters are used by functions they are zero too."""
    silent = [module for module in block.modules() if _computes(module)]
    hooks = [module.register_forward_hook(_zeros) for module in silent]
    kept = [(parameter, parameter.clone()) for module in block.modules() for parameter in _own(module)]
    for parameter, _ in kept:
        parameter.zero_()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, values in kept:
            parameter.copy_(values)


def _computes(module: nn.Module) -> bool:
    """Whether all that a module gives is computed with parameters: a leaf of the network, or of torch (attention)."""
    with_parameters = (child for child in module.children() if any(True for _ in child.parameters()))
    whole = type(module).__module__.startswith("torch.nn") and type(module).__module__ != "torch.nn.modules.container"
    return bool(_own(module)) and (whole or not any(True for _ in with_parameters))


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [] if isinstance(module, nn.PReLU) else list(module.parameters(recurse=False))


def _zeros(module: nn.Module, inputs: tuple, output):
    return tree_map(lambda value: torch.zeros_like(value) if isinstance(value, Tensor) else value, output)
