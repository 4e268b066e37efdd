"""Channels of a block's transform that are reset to zero."""

import pytest
import torch
from torch import nn

from src.graph.block_transforms import transforms
from src.graph.lesions import lesion_mask, lesion_masks, lesion_outputs
from src.graph.vital_blocks import vital_blocks
from src.networks.resnet import ResNet
from tests.graph.vital_lists import built


class Block(nn.Module):
    """x + relu(F(x)), with an addition that works in place on the shortcut."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(into, out, 3, padding=1), nn.ReLU(inplace=True)
        self.same = into == out

    def forward(self, x):
        y = self.relu(self.conv(x))
        if self.same:
            x += y
            return x
        return y


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(3, 6), Block(6, 6), Block(6, 6), nn.Flatten(), nn.Linear(6 * 16, 5))


def by_hand(model: nn.Module, images: torch.Tensor, block: int, mask: torch.Tensor) -> torch.Tensor:
    """The masked transform written out, without a graph."""
    x = images
    for number, part in enumerate(model[:3]):
        y = part.conv(x).relu() * (mask.view(1, -1, 1, 1) if number == block else 1)
        x = x + y if part.same else y
    return model[4](x.flatten(1))


def test_a_lesion_acts_on_the_transform_alone():
    """A mask behind the addition would cut off any block; a lesion that stayed would be measured with the next one."""
    model, images = network().train(), torch.randn(4, 3, 4, 4)
    found = vital_blocks(model, (3, 4, 4), ["0", "1", "2"])
    generators = {"0": 0, "1": 1, "2": 2}
    masks = lesion_masks(found, (0.3, 0.6, 1.0), lambda block, p: torch.Generator().manual_seed(generators[block]))
    outputs = dict(lesion_outputs(model, found, images, masks))
    assert next(iter(outputs)) is None
    assert set(outputs) == {None, *((block, p) for block in "012" for p in (0.3, 0.6, 1.0))}
    with torch.no_grad():
        torch.testing.assert_close(outputs[None], by_hand(model, images, -1, None))
        for (block, rate), given in masks.items():
            torch.testing.assert_close(outputs[block, rate], by_hand(model, images, int(block), given[0]))
    assert torch.equal(outputs["0", 1.0], outputs["0", 1.0][:1].expand(4, -1))  # vital: blind to the images
    assert not torch.equal(outputs["1", 1.0], outputs["1", 1.0][:1].expand(4, -1))
    assert model.training  # as it was


def test_both_branches_of_a_projection_are_masked():
    """Of a block that changes shape the mask of one branch would leave the other as a way around."""
    model = ResNet([1, 1], [4, 8], 3).eval()
    found = vital_blocks(model, (3, 8, 8))
    assert found.vital == ("layer2.0",)
    assert [flow_name(found, place) for place in transforms(found)["layer2.0"]] == ["add_1"]
    masks = lesion_masks(found, (1.0,), lambda block, p: torch.Generator())
    outputs = dict(lesion_outputs(model, found, torch.randn(3, 3, 8, 8), masks))
    assert torch.equal(outputs["layer2.0", 1.0], outputs["layer2.0", 1.0][:1].expand(3, -1))


def flow_name(found, place) -> str:
    return found.flow.nodes[place.op].name


@pytest.mark.parametrize(
    ("name", "shape", "places"),
    [
        ("convnext_tiny", (3, 32, 32), [("mul", 1, 96)]),  # behind a permutation, at the layer scale
        ("swin_t", (3, 32, 32), [("shifted_window_attention", -1, 96), ("features_1_0_mlp_3", -1, 96)]),
        ("vit_b_16", (3, 224, 224), [("getitem_5", -1, 768), ("encoder_layers_encoder_layer_0_mlp_3", -1, 768)]),
        ("shufflenet_v2_x1_0", (3, 32, 32), [("cat", 1, 116)]),
        ("mobilenet_v2", (3, 32, 32), [("features_1_conv_2", 1, 16)]),
    ],
)
def test_channels_are_where_the_layers_have_them(name, shape, places):
    """In a transformer they stand last: a mask of dimension 1 would reset tokens."""
    found = vital_blocks(built("torchvision", name), shape)
    first = transforms(found)[found.blocks[0]]
    assert [(flow_name(found, place), place.dim, place.channels) for place in first] == places


def test_a_mask_resets_channels_with_its_probability():
    """p is what the study is about; 0 must leave and 1 must take everything."""
    generator = torch.Generator().manual_seed(0)
    for rate, spread in ((0.0, 0.0), (0.3, 0.015), (0.6, 0.015), (1.0, 0.0)):
        mask = lesion_mask(10_000, rate, generator)
        assert abs((mask == 0).float().mean().item() - rate) <= spread
        assert set(mask.tolist()) <= {0.0, 1.0}
