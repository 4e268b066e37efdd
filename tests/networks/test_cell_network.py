"""Networks of cells: their size, their shapes, and what a config may say."""

import pytest
import torch
from torch import fx, nn

from src.errors import UserError
from src.networks.cell_network import CellNetwork
from src.networks.cell_operations import OPERATIONS, FactorizedReduce, SeparableConv, cell_operation
from src.networks.cell_supernet import CellSupernet
from src.networks.genotypes import DARTS_V2, PUBLISHED, cell_edges, checked_genotype
from tests.networks.cell_networks import COMPUTED, images_of

SMALL = {"channels": 4, "layers": 3, "in_channels": 1, "reductions": [1]}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "layers", "in_channels", "expected"),
    [(16, 8, 3, 1_930_618), (16, 8, 1, 1_929_754), (16, 5, 3, 1_275_834), (8, 5, 1, 393_778), (8, 3, 1, 209_010)],
)
def test_supernet_has_as_many_parameters_as_that_of_darts(channels, layers, in_channels, expected):
    """A wrong operation, preprocessing or doubling would show here. `none` has no parameters."""
    with torch.device("meta"):
        network = CellSupernet(OPERATIONS if layers == 3 else COMPUTED, channels, layers, in_channels=in_channels)
    assert parameters(network) == expected
    kinds = [sum(isinstance(module, kind) for module in network.modules()) for kind in (nn.Conv2d, nn.BatchNorm2d)]
    assert layers < 8 or kinds == [1395, 929]


def test_evaluation_network_has_as_many_parameters_as_that_of_darts():
    with torch.device("meta"):
        assert parameters(CellNetwork("DARTS_V2")) == 3_349_342


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", [(8, 8), (7, 7), (14, 14), (5, 6)])
def test_odd_sizes_work(name, size):
    """28 -> 14 -> 7 -> 4: a factorised reduce must make as many positions as a pool of stride 2."""
    network = CellNetwork(name, **SMALL | {"reductions": [0, 1]})
    assert network(torch.randn(2, 1, *size)).shape == (2, 10)


@pytest.mark.parametrize("size", [7, 8])
def test_factorised_reduce_sees_both_diagonals(size):
    """The second convolution reads the pixel to the lower right, zero behind the border."""
    reduce = FactorizedReduce(1, 2, affine=False).eval()
    for convolution in (reduce.conv1, reduce.conv2):
        nn.init.ones_(convolution.weight)
    image = torch.rand(1, 1, size, size)
    found = reduce(image) * (1 + reduce.bn.eps) ** 0.5
    expected = nn.functional.pad(image, (0, 1, 0, 1))
    half = -(-size // 2)
    torch.testing.assert_close(found[:, 0], image[:, 0, ::2, ::2])
    torch.testing.assert_close(found[:, 1], expected[:, 0, 1::2, 1::2][:, :half, :half])


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_keep_channels_and_layout(name, stride):
    """In memory too: depthwise convolutions are several times faster with channels last."""
    operation = cell_operation(name, 4, stride, affine=False, pool_norm=True)
    x = images_of(2, 7, 4).contiguous(memory_format=torch.channels_last)
    y = operation(x)
    assert y.shape == (2, 4, -(-7 // stride), -(-7 // stride))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert all(module.weight is None for module in operation.modules() if isinstance(module, nn.BatchNorm2d))


def test_dilated_operations_reach_farther():
    """Pad and dilation of DARTS: a 5x5 kernel with dilation 2 sees 9x9."""
    operation = cell_operation("dil_conv_5x5", 2, 1, affine=False, pool_norm=False)
    x = torch.rand(1, 2, 17, 17, requires_grad=True)
    operation.depthwise(x)[0, :, 8, 8].sum().backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert rows.tolist() == [4, 6, 8, 10, 12]


def test_reductions_are_chosen():
    """None of them, some, and by default those of DARTS; each doubles the channels."""
    channels = {None: [8, 16, 32], (): [8, 8, 8], (2,): [8, 8, 16]}
    for reductions, expected in channels.items():
        network = CellNetwork("DARTS_V2", 8, 3, reductions=None if reductions is None else list(reductions))
        assert [cell.preprocess1.conv.out_channels for cell in network.cells] == expected
        assert network(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    assert CellNetwork("DARTS_V2", 4, 20).reductions == [6, 13]


def test_drop_path_leaves_out_whole_paths_of_images_in_training_only():
    network = CellNetwork("DARTS_V2", **SMALL, drop_path=0.5)
    image = images_of(1).expand(64, -1, -1, -1)
    with torch.no_grad():
        outputs = network.train()(image)
        assert outputs.std(dim=0).min() > 0  # alike images, unlike paths
        kept = network.eval()(image)
    torch.testing.assert_close(kept, kept[:1].expand_as(kept))
    assert not any(type(module).__name__ == "StochasticDepth" for module in CellNetwork("DARTS_V2", **SMALL).modules())


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_traced_and_exported(training):
    """CONet resizes what torch.fx traces; a run ends with an export."""
    network = CellNetwork("DARTS_PLUS_CIFAR100", **SMALL | {"layers": 2, "reductions": [0]}, drop_path=0.2)
    network.train(training)
    assert fx.symbolic_trace(network)(images_of()).shape == (3, 10)
    if not training:
        batch = torch.export.Dim("batch")
        exported = torch.export.export(network, (images_of(2),), dynamic_shapes=({0: batch},)).module()
        with torch.no_grad():
            torch.testing.assert_close(exported(images_of(4)), network(images_of(4)))


def test_edges_of_a_cell():
    """Gates and genotypes are in this order."""
    assert cell_edges(2) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert len(cell_edges(4)) == 14


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"genotype": "DARTS_V3"}, "did you mean 'DARTS_V1' or 'DARTS_V2'"),
        ({"genotype": {"normal": []}}, "must have the cells normal and reduce"),
        ({"genotype": DARTS_V2 | {"normal": []}}, r"genotype.normal=\[\]"),
        ({"genotype": DARTS_V2 | {"normal": [[]]}}, r"genotype.normal\[0\]=\[\]"),
        ({"genotype": DARTS_V2 | {"normal": [[["sep_conv", 0]]]}}, "did you mean .*sep_conv_3x3"),
        ({"genotype": DARTS_V2 | {"normal": [[["none", 0]]]}}, r"normal\[0\]\[0\]\[0\]='none'"),
        ({"genotype": DARTS_V2 | {"normal": [[["skip_connect", 2]]]}}, r"normal\[0\]\[0\]\[1\]=2 .* states 0 to 1"),
        ({"genotype": DARTS_V2 | {"normal": [[["skip_connect", 0]] * 2]}}, "an input twice"),
        ({"genotype": DARTS_V2 | {"normal_concat": [0]}}, "normal_concat"),
        ({"genotype": DARTS_V2 | {"normal_conact": [2]}}, "did you mean 'normal_concat'"),
        ({"reductions": [3]}, r"model.reductions\[0\]=3 .* from 0 to 2"),
        ({"reductions": [1, 1]}, "a cell twice"),
        ({"reductions": 1}, "must be a list"),
        ({"channels": 5}, "must be even, 6 say"),
        ({"drop_path": 1}, "model.drop_path=1"),
        ({"affine": "no"}, "model.affine='no'"),
    ],
)
def test_mistakes_are_told(options, said):
    with pytest.raises(UserError, match=said):
        CellNetwork(**{"genotype": "DARTS_V2"} | SMALL | options)


def test_a_genotype_is_plain_and_its_concatenation_may_be_chosen():
    found = checked_genotype({"normal": [[("skip_connect", 0)]], "reduce": DARTS_V2["reduce"], "reduce_concat": [3, 5]})
    assert found["normal"] == [[["skip_connect", 0]]]
    assert found["normal_concat"] == [2]
    network = CellNetwork(found, **SMALL)
    assert [cell.preprocess1.conv.in_channels for cell in network.cells] == [12, 4, 16]
    assert network(images_of()).shape == (3, 10)


def test_the_first_half_of_a_separable_convolution_has_the_stride():
    names = [
        name for name, module in SeparableConv(4, 3, 2, True).named_modules() if getattr(module, "stride", 1) == (2, 2)
    ]
    assert names == ["depthwise1"]
