"""Released OFA weights: a file made here with their names."""

import pytest
import torch

from src.errors import UserError
from src.networks.elastic_mobile.ofa_weights import load_ofa, ofa_name
from src.networks.elastic_mobile.supernet import ElasticSupernet
from tests.networks.elastic import lived_in

# as printed of the state dict of the released super-net, written down by hand
RELEASED = {
    "stem.conv.weight": "first_conv.conv.weight",
    "stages.0.0.project.bn.bias": "blocks.0.conv.point_linear.bn.bias",
    "stages.1.0.expand.bn.running_mean": "blocks.1.conv.inverted_bottleneck.bn.running_mean",
    "stages.2.3.squeeze.reduce.weight": "blocks.8.conv.depth_conv.se.fc.reduce.weight",
    "stages.5.3.matrices.7to5": "blocks.20.conv.depth_conv.conv.7to5_matrix",
    "head.expand.bn.weight": "final_expand_layer.bn.weight",
    "head.last.conv.weight": "feature_mix_layer.conv.weight",
    "head.classifier.bias": "classifier.linear.bias",
}


def released(name: str, old: bool) -> str:
    """The released spelling of a name in the shortest one: only blocks that are searched hold layers within layers."""
    if name.startswith("blocks.") and not name.startswith("blocks.0."):
        name = name.replace(".bn.", ".bn.bn.") if ".bn." in name else name
        name = name.replace(".conv.weight", ".conv.conv.weight")
    return name.replace(".conv.", ".mobile_inverted_conv.", 1) if old and name.startswith("blocks.") else name


@pytest.fixture(scope="module", params=["ofa_mobilenet_v3", "ofa_proxyless"])
def pair(request) -> tuple[ElasticSupernet, ElasticSupernet]:
    """Two super-nets of one space with other weights and other classes."""
    torch.manual_seed(0)
    space = {"family": request.param, "resolutions": [24], "multipliers": [0.2]}
    return lived_in(ElasticSupernet(space, num_classes=7)), ElasticSupernet(space, num_classes=3)


@pytest.mark.parametrize("old", [False, True])
def test_released_weights_load_but_the_classifier(pair, old, tmp_path):
    source, target = pair
    network = source.networks[0]
    state = {released(ofa_name(name, network), old): tensor for name, tensor in network.state_dict().items()}
    if not network.stages[-1][0].matrices:  # the released file has those of the last block of ProxylessNAS too
        state["blocks.21.conv.depth_conv.conv.7to5_matrix"] = torch.eye(25)
    torch.save({"state_dict": state}, tmp_path / "ofa")
    left = load_ofa(target, tmp_path / "ofa")
    assert left == ["head.classifier.weight", "head.classifier.bias"]
    loaded = target.networks[0].state_dict()
    for name, tensor in network.state_dict().items():
        assert name in left or torch.equal(loaded[name], tensor), name

    state.pop("first_conv.bn.bias")
    torch.save(state, tmp_path / "less")
    with pytest.raises(UserError, match=r"have no 'first_conv\.bn\.bias'"):
        load_ofa(target, tmp_path / "less")


def test_the_names_are_the_released_ones():
    """The file of the test above is made by the function that is tested."""
    network = ElasticSupernet({"family": "ofa_mobilenet_v3", "multipliers": [0.2]}).networks[0]
    assert {name: ofa_name(name, network) for name in RELEASED} == RELEASED


def test_files_that_do_not_fit(tmp_path, pair):
    _, target = pair
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load_ofa(target, tmp_path / "absent")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(UserError, match="no file of weights"):
        load_ofa(target, tmp_path / "text")
    torch.save({"state_dict": {"first_conv.conv.weight": torch.zeros(1)}}, tmp_path / "other")
    with pytest.raises(UserError, match=r"'first_conv.conv.weight' has the shape \(1,\)"):
        load_ofa(target, tmp_path / "other")
    with pytest.raises(UserError, match="say which of"):
        load_ofa(ElasticSupernet("tiny_images", widths=[1, 1.5]), tmp_path / "other")
