"""Weights come from the file that belongs to the architecture, or the file is refused in a sentence."""

import pytest
import torch
from omegaconf import OmegaConf

from src.errors import UserError
from src.methods.weights import load_weights
from src.runtime.build import network_from
from src.runtime.checkpoints import save_whole
from src.runtime.preparation import weights_file
from tests.cascading import tiny

CASCADE = {
    "_target_": "src.networks.cascade.Cascade",
    "members": [tiny(8), tiny(4)],
    "thresholds": [0.5],
    "names": ["b", "a"],
}


def test_a_cascade_takes_those_of_its_members_by_their_names(tmp_path):
    """By their order, b would get those of a; and a member that is a cascade itself has one state dict."""
    networks = {"a": network_from(tiny(4)), "b": network_from(tiny(8)), "inner": network_from(CASCADE)}
    path = tmp_path / "weights.pt"
    save_whole({name: network.state_dict() for name, network in networks.items()}, path)
    names = ["inner", "b", "a"]
    config = {**CASCADE, "members": [CASCADE, *CASCADE["members"]], "thresholds": [0.5, 0.6], "names": names}
    cascade = network_from(config)
    load_weights(cascade, path)
    for name, member in zip(names, cascade.members, strict=True):
        expected = networks[name].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in member.state_dict().items())
    with pytest.raises(UserError, match=r"cannot be loaded .*: there are none of the member 'bb'; did you mean 'b'"):
        load_weights(network_from({**CASCADE, "names": ["bb", "a"]}), path)
    with pytest.raises(UserError, match="it holds those of a front's members by their names"):
        load_weights(networks["a"], path)


def test_a_file_of_a_front_has_the_weights_beside_it_and_not_those_of_the_found_network(tmp_path):
    """Where both have the same shapes, the found network's would be taken without a word."""
    file = tmp_path / "front" / "candidate_2.yaml"
    file.parent.mkdir()
    (tmp_path / "weights.pt").touch()
    config = OmegaConf.create({"architecture": str(file), "weights": None, "test_only": True})
    with pytest.raises(
        UserError, match=r"front/weights.pt, nor candidate_2.pt: the networks of a front have weights once"
    ):
        weights_file(config)
    (file.parent / "weights.pt").touch()
    assert weights_file(config) == file.parent / "weights.pt"
    assert weights_file(OmegaConf.merge(config, {"architecture": str(tmp_path)})) == tmp_path / "weights.pt"
    (file.parent / "candidate_2.pt").touch()
    assert weights_file(config) == file.parent / "candidate_2.pt"
