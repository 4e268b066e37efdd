"""Elastic super-nets and genotypes that several tests use."""

import random
from typing import Any

import torch
from torch import nn

from src.networks.elastic_mobile.macro import ElasticMacro
from src.networks.elastic_mobile.supernet import ElasticSupernet

_BLOCKS = {"depths": [1, 2], "kernels": [3, 5, 7], "expansions": [2, 3], "stride": 1, "activation": "relu6"}

# each family, cheap: few and small resolutions (an odd one too), and of OFA two width multipliers
SPACES = {
    "ofa_mobilenet_v3": {"family": "ofa_mobilenet_v3", "resolutions": [24, 29], "multipliers": [0.3, 0.5]},
    "ofa_proxyless": {"family": "ofa_proxyless", "resolutions": [24], "multipliers": [0.3]},
    "alphanet": {"family": "alphanet", "resolutions": [24, 29], "multipliers": [0.4]},
    "small_images": "small_images",
    "tiny_images": {"family": "tiny_images", "multipliers": [1.0, 1.5]},
    # widths that are equal or not as they are chosen, so that a block has a shortcut or has none
    "elastic_widths": {
        "family": "tiny_images",
        "stages": [{**_BLOCKS, "widths": [16, 24]}, {**_BLOCKS, "widths": [16, 24, 32], "squeeze": True}],
    },
}


def random_genotype(macro: ElasticMacro, generator: random.Random) -> dict[str, Any]:
    one = generator.choice
    genotype = {"resolution": one(macro.resolutions), "width": one(macro.multipliers), "stem": one(macro.stems)}
    genotype |= {"widths": [one(stage.widths) for stage in macro.stages], "last": one(macro.lasts)}
    depths = [one(stage.depths) for stage in macro.stages]
    for name in ("kernels", "expansions"):
        genotype[name] = []
        for stage, depth in zip(macro.stages, depths, strict=True):
            choices = getattr(stage, name)
            drawn = [one(choices) for _ in range(depth)] if stage.per_block else [one(choices)] * depth
            genotype[name].append(drawn)
    return genotype


def lived_in(supernet: ElasticSupernet, seed: int = 0) -> ElasticSupernet:
    """`supernet` with statistics, scales and kernel matrices that are not those of fresh layers."""
    generator = torch.Generator().manual_seed(seed)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0.0, 0.2, generator=generator)
        elif isinstance(module, nn.ParameterDict):
            for matrix in module.values():
                matrix.data.add_(0.1 * torch.randn(matrix.shape, generator=generator))
    return supernet
