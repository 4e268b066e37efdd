"""The named spaces of elastic mobile networks, as the plain mappings that `macro_of` reads.

    ofa_mobilenet_v3   Once-for-All on MobileNetV3 (Cai et al. 2020, https://arxiv.org/abs/1908.09791)
    ofa_proxyless      Once-for-All on ProxylessNAS (https://arxiv.org/abs/1812.00332), width multiplier 1.3
    alphanet           AttentiveNAS and AlphaNet, one space (https://arxiv.org/abs/2011.09011, table 5;
                       https://arxiv.org/abs/2102.07954)
    small_images       ours, for images of 32x32
    tiny_images        ours, for images of 8x8

Widths, strides, activations and squeeze-and-excitation of the first three are those of the released super-nets. NAT and
ENCAS keep the last block of ProxylessNAS, of 320 channels, at its largest kernel and expansion, and so does this space.
"""

from typing import Any


def _stage(widths, depths, kernels, expansions, stride, activation, squeeze=False, per_block=True) -> dict[str, Any]:
    return {
        "widths": widths,
        "depths": depths,
        "kernels": kernels,
        "expansions": expansions,
        "stride": stride,
        "activation": activation,
        "squeeze": squeeze,
        "per_block": per_block,
    }


def _ofa(width: int, stride: int, activation: str, squeeze: bool = False) -> dict[str, Any]:
    return _stage([width], [2, 3, 4], [3, 5, 7], [3, 4, 6], stride, activation, squeeze)


def _attentive(widths, depths, expansions, stride, squeeze=False) -> dict[str, Any]:
    return _stage(widths, depths, [3, 5], expansions, stride, "swish", squeeze, per_block=False)


FAMILIES: dict[str, dict[str, Any]] = {
    "ofa_mobilenet_v3": {
        "resolutions": list(range(192, 257, 4)),
        "multipliers": [1.0],
        "stems": [16],
        "stem_stride": 2,
        "activation": "h_swish",
        "stages": [
            _stage([16], [1], [3], [1], 1, "relu"),
            _ofa(24, 2, "relu"),
            _ofa(40, 2, "relu", squeeze=True),
            _ofa(80, 2, "h_swish"),
            _ofa(112, 1, "h_swish", squeeze=True),
            _ofa(160, 2, "h_swish", squeeze=True),
        ],
        "lasts": [1280],
        "head_expansion": 6,
        "shrinking": "transform",
        "shortcuts": "equal",
        "divisor": 8,
        "epsilon": 1e-5,
    },
    "ofa_proxyless": {
        "resolutions": list(range(192, 257, 4)),
        "multipliers": [1.3],
        "stems": [32],
        "stem_stride": 2,
        "activation": "relu6",
        "stages": [
            _stage([16], [1], [3], [1], 1, "relu6"),
            _ofa(24, 2, "relu6"),
            _ofa(40, 2, "relu6"),
            _ofa(80, 2, "relu6"),
            _ofa(96, 1, "relu6"),
            _ofa(192, 2, "relu6"),
            _stage([320], [1], [7], [6], 1, "relu6"),
        ],
        "lasts": [1280],
        "head_expansion": 0,
        "shrinking": "transform",
        "shortcuts": "equal",
        "divisor": 8,
        "epsilon": 1e-3,
    },
    "alphanet": {
        "resolutions": [192, 224, 256, 288],
        "multipliers": [1.0],
        "stems": [16, 24],
        "stem_stride": 2,
        "activation": "swish",
        "stages": [
            _attentive([16, 24], [1, 2], [1], 1),
            _attentive([24, 32], [3, 4, 5], [4, 5, 6], 2),
            _attentive([32, 40], [3, 4, 5, 6], [4, 5, 6], 2, squeeze=True),
            _attentive([64, 72], [3, 4, 5, 6], [4, 5, 6], 2),
            _attentive([112, 120, 128], [3, 4, 5, 6, 7, 8], [4, 5, 6], 1, squeeze=True),
            _attentive([192, 200, 208, 216], [3, 4, 5, 6, 7, 8], [6], 2, squeeze=True),
            _attentive([216, 224], [1, 2], [6], 1, squeeze=True),
        ],
        "lasts": [1792, 1984],
        "head_expansion": 6,
        "shrinking": "centre",
        "shortcuts": "projected",
        "divisor": 8,
        "epsilon": 1e-5,
    },
    "small_images": {
        "resolutions": [16, 20, 24, 28, 32],
        "multipliers": [1.0],
        "stems": [16],
        "stem_stride": 1,
        "activation": "h_swish",
        "stages": [
            _stage([16], [1, 2], [3], [2, 3, 4], 2, "h_swish"),
            _stage([32], [1, 2, 3], [3, 5], [2, 3, 4], 2, "h_swish"),
            _stage([64], [1, 2, 3], [3, 5], [2, 3, 4], 2, "h_swish", squeeze=True),
        ],
        "lasts": [256],
        "head_expansion": 3,
        "shrinking": "transform",
        "shortcuts": "projected",
        "divisor": 8,
        "epsilon": 1e-5,
    },
    "tiny_images": {
        "resolutions": [6, 8],
        "multipliers": [1.0],
        "stems": [16],
        "stem_stride": 1,
        "activation": "h_swish",
        "stages": [
            _stage([24], [1, 2, 3], [3, 5], [2, 3, 4], 2, "relu"),
            _stage([48], [1, 2, 3], [3, 5], [2, 3, 4], 2, "h_swish", squeeze=True),
        ],
        "lasts": [96],
        "head_expansion": 2,
        "shrinking": "transform",
        "shortcuts": "equal",
        "divisor": 8,
        "epsilon": 1e-5,
    },
}
