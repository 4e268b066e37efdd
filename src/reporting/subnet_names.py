"""Sub-nets of elastic networks told in a line."""

from collections.abc import Mapping
from typing import Any


def short_subnet(genotype: Mapping[str, Any]) -> str:
    """Resolution, multiplier, stem, width and blocks of each stage, and last width, of a genotype.

    >>> stages = {"widths": [24], "kernels": [[3, 5]], "expansions": [[4, 6]]}
    >>> short_subnet({"resolution": 32, "width": 1.2, "stem": 16, **stages, "last": 1280})
    'r32 x1.2: 16 | 24 k3e4 k5e6 | 1280'
    """
    stages = zip(genotype["widths"], genotype["kernels"], genotype["expansions"], strict=True)
    told = [
        " ".join([str(width), *(f"k{kernel}e{ratio}" for kernel, ratio in zip(kernels, ratios, strict=True))])
        for width, kernels, ratios in stages
    ]
    ends = f"r{genotype['resolution']} x{genotype['width']:g}: {genotype['stem']}"
    return " | ".join([ends, *told, str(genotype["last"])])
