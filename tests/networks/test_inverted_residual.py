"""Networks of inverted residuals: counted against HourNAS-F, FBNet-C and their bounds; and their errors."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from src.elastic.network import ElasticNetwork
from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial
from src.graph.squeeze import squeezed_groups
from src.networks.inverted_residual import InvertedResidualNet
from src.networks.operations import Operation, operation_named
from src.runtime.build import network_from
from tests.elastic.supernets import wild
from tests.networks.mobile import CIFAR_STAGES, SMALL, counted, images_of, model_config

F = model_config("hournas_f")
NO_SQUEEZE = [name.removesuffix("_se") for name in F["operations"]]
INPUT = {"se_ratio": 0.25, "se_of": "input"}
VITAL = (0, 1, 5, 9, 13, 17, 21)
VITAL_ONLY = [name if block in VITAL else "skip" for block, name in enumerate(F["operations"])]
GENOTYPE = ["ir_k3_e1", "ir_k5_e2_se", "ir_k3_e3_se", "skip", "ir_k7_e3"]


def small(operations=GENOTYPE, **changes) -> InvertedResidualNet:
    torch.manual_seed(0)
    return InvertedResidualNet(operations=operations, **{**SMALL, **changes})


@pytest.mark.parametrize(
    ("changes", "macs", "params"),
    [
        ({}, 382.965, 5.3525),
        (INPUT, 382.886, 5.2735),
        ({"operations": NO_SQUEEZE}, 382.262, 4.6398),
        ({"operations": VITAL_ONLY}, 192.562, 2.9168),
        ({"operations": "ir_k3_e1_se", **INPUT}, 131.977, 2.3453),
        ({"operations": "ir_k3_e3_se", **INPUT}, 331.555, 3.6383),
        ({"operations": "ir_k3_e6_se", **INPUT}, 630.922, 5.5778),
        ({"operations": "ir_k5_e6_se", **INPUT}, 724.023, 5.7544),
    ],
)
def test_hournas_f_costs_what_its_authors_count(changes, macs, params):
    """In millions; to the digits of the specification, and sharper. Both rules of squeezed widths, none, and bounds."""
    found = counted({**F, **changes})
    assert (round(found[0] / 1e6, 3), round(found[1] / 1e6, 4)) == (macs, params)


def test_the_released_network_for_cifar_costs_what_it_costs():
    found = counted(model_config("hournas_f", 10, stem=[32, 1], stages=CIFAR_STAGES), (3, 32, 32))
    assert (round(found[0] / 1e6, 1), round(found[1] / 1e6, 3)) == (393.4, 4.084)


def test_without_the_expansion_of_e1_the_count_is_another():
    """The negative control: a count that did not see the difference could not tell the right network."""
    with torch.device("meta"):
        network = network_from(F).eval()
        for block, name in zip(network.blocks, F["operations"], strict=True):
            if "_e1" in name:
                block.transform.expand = block.transform.bn1 = block.transform.act1 = nn.Identity()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 224, 224))
    params = sum(parameter.numel() for parameter in network.parameters())
    assert (round(counter.get_total_flops() / 2e6, 1), round(params / 1e6, 3)) == (360.9, 5.344)


def test_fbnet_c_is_that_of_timm():
    """The same network but for its names: with timm's weights, in order, the same outputs."""
    torch.manual_seed(0)
    config, theirs = model_config("fbnet_c"), timm.create_model("fbnetc_100").eval()
    ours = network_from(config).eval()
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        copy.deepcopy(theirs).to("meta")(torch.zeros(1, 3, 224, 224))
    params = sum(parameter.numel() for parameter in theirs.parameters())
    assert counted(config) == (counter.get_total_flops() // 2, params) == (384_960_160, 5_572_200)
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 4])
def test_a_skip_is_as_if_the_block_were_not_there(block):
    """All-skip insertion is bit-identical to the network without these blocks, which has the same other weights."""
    network = small([name if place != block else "skip" for place, name in enumerate(["ir_k3_e2_se"] * 5)]).eval()
    shorter = copy.deepcopy(network)
    del shorter.blocks[block]
    assert torch.equal(network(images_of()), shorter(images_of()))
    assert not list(network.blocks[block].parameters())


def test_the_vital_blocks_alone_are_the_network_with_all_others_skipped():
    """Bit for bit, in training too: one block a stage against five blocks of which two are left out."""
    full = small(["skip", "skip", "ir_k3_e3_se", "skip", "skip"]).train()
    torch.manual_seed(0)
    alone = InvertedResidualNet(operations=["ir_k3_e3_se"], **{**SMALL, "stages": [[12, 1, 2]]}).train()
    assert len(full.blocks) == 5
    assert len(alone.blocks) == 1
    alone.load_state_dict({name.replace("blocks.2.", "blocks.0."): value for name, value in full.state_dict().items()})
    assert torch.equal(full(images_of()), alone(images_of()))


def test_shortcuts_are_there_where_the_shape_stays():
    network = small("ir_k3_e2").eval()
    assert [block.shortcut for block in network.blocks] == [True, True, False, True, True]
    block, x = network.blocks[0], torch.randn(2, 8, 6, 6)
    assert torch.equal(block(x), x + block.transform(x))
    assert network.blocks[2](x).shape == (2, 12, 3, 3)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_the_activation_is_what_was_asked_for(activation):
    kinds = {type(module).__name__ for module in small("ir_k3_e2", activation=activation).modules()}
    assert kinds & {"ReLU", "SiLU"} == {{"relu": "ReLU", "silu": "SiLU"}[activation]}


def test_widths_can_be_searched_in_what_was_found():
    """CONet and CafeNet go on from a found network: its graph costs what it costs, and slices compute what they did."""
    network = small().eval()
    graph = channel_graph(network, (3, 12, 12))
    assert not graph.unknown
    assert len(squeezed_groups(graph, network)) == 2
    costs = cost_polynomial(graph)
    config = {"_target_": f"{InvertedResidualNet.__module__}.InvertedResidualNet", "operations": GENOTYPE, **SMALL}
    assert (int(costs.macs(graph.widths())), int(costs.params(graph.widths()))) == counted(config, (3, 12, 12))
    elastic = ElasticNetwork(network, graph).eval()
    for seed in range(3):
        path = elastic.path(wild(graph, seed))
        with torch.no_grad():
            assert torch.equal(elastic.extracted(path).eval()(images_of()), elastic(images_of(), path))


def test_names_of_operations_go_there_and_back():
    for name in ("ir_k3_e1", "ir_k5_e6_se", "ir_k7_e12"):
        assert operation_named(name).name == name
    assert operation_named("ir_k5_e6_se") == Operation(5, 6, True)
    assert operation_named("skip") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ir_k5_e6_es", "did you mean 'ir_k5_e6_se'"),
        ("ir_k4_e6", "did you mean 'ir_k"),
        ("k5_e6", "did you mean"),
        ("ir_k3_e0", "expansion from 1 to 99"),
        ("skpi", "did you mean 'skip'"),
        ("conv", "such as ir_k3_e1"),
        (3, "is not an operation"),
        ("ir_k3_e6_se\n", "is not an operation"),
    ],
)
def test_a_name_that_is_none_is_an_error_with_the_nearest(name, words):
    with pytest.raises(UserError, match=words) as caught:
        small(["ir_k3_e1", name, "ir_k3_e1", "skip", "skip"])
    assert "model.operations[1]=" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operations": ["skip"] * 5}, r"model.operations\[2\]='skip'.*makes 12 channels of 8 at stride 2"),
        ({"operations": "skip"}, "model.operations='skip'"),
        ({"operations": ["ir_k3_e1"] * 4}, "4 names for 5 blocks.*or a list of 5"),
        ({"operations": 7}, "7 for 5 blocks"),
        ({"stages": []}, r"model.stages=\[\]"),
        ({"stages": [[8, 1]]}, r"model.stages\[0\]=\[8, 1\]"),
        ({"stages": [[8, 1, 1], [8, 0, 1]]}, r"model.stages\[1\]\[1\]=0"),
        ({"stem": 8}, r"model.stem=8 .*\[channels, stride\]"),
        ({"se_ratio": 2}, "model.se_ratio=2"),
        ({"se_of": "inputs"}, "did you mean 'input'"),
        ({"activation": "swish"}, "model.activation='swish'"),
        ({"dropout": -0.1}, "model.dropout=-0.1"),
        ({"head": 0}, "model.head=0"),
    ],
)
def test_mistakes_are_told_by_the_name_in_the_config(changes, words):
    with pytest.raises(UserError, match=words):
        small(**{"operations": "ir_k3_e1", **changes})
