"""What the blocks of a network cost."""

import pytest
from torch import nn

from src.graph.op_macs import block_costs
from src.graph.vital_blocks import vital_blocks
from tests.graph.vital_lists import built


@pytest.mark.parametrize(
    ("name", "macs", "params", "all_macs"),
    [("mobilenet_v2", 113.6, 0.73, 300.8), ("mnasnet1_0", 99.9, 0.92, 314.4), ("resnet50", 1348.7, 8.01, 4089.2)],
)
def test_the_share_of_the_vital_blocks_is_the_known_one(name, macs, params, all_macs):
    """The report would say the wrong thing about where a network spends."""
    model = built("torchvision", name)
    found = vital_blocks(model, (3, 224, 224))
    costs = block_costs(model, found)
    assert sum(costs[block][0] for block in found.vital) / 1e6 == pytest.approx(macs, abs=0.1)
    assert sum(costs[block][1] for block in found.vital) / 1e6 == pytest.approx(params, abs=0.01)
    assert costs[""][0] / 1e6 == pytest.approx(all_macs, abs=0.1)
    assert costs[""][1] == sum(parameter.numel() for parameter in model.parameters())


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        return (x + self.a(x)).flatten(1)


def test_a_block_without_a_module_has_costs_too():
    """A region that the model's own forward joins would look as if it were free."""
    costs = block_costs(Own(), vital_blocks(Own(), (3, 5, 5)))
    assert costs == {"": (25 * (12 + 144), 16 + 148), "a..add": (25 * 144, 148)}
