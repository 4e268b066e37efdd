"""Networks whose vital blocks are known."""

import timm
import torch
import torchvision

FIRST = [f"blocks.{stage}.0" for stage in range(7)]
FIRES = [f"features.{place}" for place in (3, 4, 5, 7, 8, 9, 10, 12)]
INCEPTIONS = [f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]

# torchvision: classes of blocks, how many, which are vital
TORCHVISION = {
    "mobilenet_v2": (["InvertedResidual"], 17, [f"features.{i}" for i in (1, 2, 4, 7, 11, 14, 17)]),
    "mobilenet_v3_large": (["InvertedResidual"], 15, [f"features.{i}" for i in (2, 4, 7, 11, 13)]),
    "mnasnet1_0": (["_InvertedResidual"], 16, [f"layers.{i}.0" for i in range(8, 14)]),
    "efficientnet_v2_s": (["MBConv", "FusedMBConv"], 40, [f"features.{i}.0" for i in range(2, 7)]),
    "resnet18": (["BasicBlock"], 8, ["layer2.0", "layer3.0", "layer4.0"]),
    "resnet34": (["BasicBlock"], 16, ["layer2.0", "layer3.0", "layer4.0"]),
    "resnet50": (["Bottleneck"], 16, ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
    "regnet_y_400mf": (["ResBottleneckBlock"], 16, [f"trunk_output.block{i}.block{i}-0" for i in range(1, 5)]),
    "shufflenet_v2_x1_0": (["InvertedResidual"], 16, ["stage2.0", "stage3.0", "stage4.0"]),
    "squeezenet1_0": (["Fire"], 8, FIRES),
    "googlenet": (["Inception"], 9, INCEPTIONS),
    "convnext_tiny": (["CNBlock"], 18, []),
    "vit_b_16": (["EncoderBlock"], 12, []),
    "swin_t": (["SwinTransformerBlock", "PatchMerging"], 15, ["features.2", "features.4", "features.6"]),
}
# timm: every block of `model.blocks` that has parameters (of resnet50d the class)
TIMM = {
    "fbnetc_100": (None, 21, FIRST[1:]),
    "semnasnet_100": (None, 16, FIRST),
    "mnasnet_100": (None, 17, FIRST),
    "spnasnet_100": (None, 21, FIRST),
    "mobilenetv3_large_100": (None, 16, FIRST[1:]),
    "lcnet_100": (None, 13, None),
    "resnet50d": (["Bottleneck"], 16, ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
}
STARRED = (
    *("mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "resnet18", "resnet34", "resnet50", "regnet_y_400mf"),
    *("shufflenet_v2_x1_0", "squeezenet1_0", "convnext_tiny"),
)
CASES = [
    *[("torchvision", name, *expected) for name, expected in TORCHVISION.items()],
    *[("timm", name, *expected) for name, expected in TIMM.items()],
]


def built(family: str, name: str, device: str = "meta") -> torch.nn.Module:
    """The network, without the time that its initial weights take where it is on the meta device."""
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("cpu" if name.startswith("regnet") else device):  # which draws its widths with tensors
        if family == "timm":
            return timm.create_model(name)
        return torchvision.models.get_model(name, weights=None, **options)


def blocks_of(model: torch.nn.Module, classes: list[str] | None) -> list[str]:
    if classes is not None:
        return classes
    every = ((f"blocks.{s}.{i}", block) for s, stage in enumerate(model.blocks) for i, block in enumerate(stage))
    return [path for path, block in every if any(True for _ in block.parameters())]
