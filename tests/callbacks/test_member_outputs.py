"""What a pass over the images leaves on the disk."""

import numpy as np
import pytest
import torch

from src.cascades.pool_folder import PoolFolder
from src.errors import UserError
from src.networks.cascade_rule import half_softmax
from src.runtime.build import network_from
from tests.cascading import encas, networks, run
from tests.searching import conet, digits


def test_each_member_is_stored_as_its_network_says_it(tmp_path):
    """Rows, labels and the rounding: a cascade is searched on these numbers, and runs on the network's."""
    data = digits()
    module = encas(networks(), tmp_path)
    run(module, data=data)
    pool = PoolFolder(tmp_path / "pool" / "validation").pool()
    images, labels = (torch.cat(parts) for parts in zip(*data.whole_validation(), strict=True))
    assert pool.names == ["net0", "net1", "net2"]
    assert np.array_equal(pool.labels, labels.numpy())
    for entry, output, gap in zip(networks(), pool.outputs, pool.gaps, strict=True):
        network = network_from(entry["model"]).eval()
        network.load_state_dict(torch.load(entry["weights"], weights_only=True))
        with torch.no_grad():
            logits = network(images)
        assert np.array_equal(output, half_softmax(logits).numpy())
        top = logits.topk(2).values
        assert np.array_equal(gap, (top[:, 0] - top[:, 1]).half().numpy())


def test_a_resumed_run_stores_only_what_is_missing(tmp_path, monkeypatch):
    data = digits()
    run(encas(networks(), tmp_path), data=data)
    first = (tmp_path / "pool" / "validation" / "pool.json").read_text()
    index = tmp_path / "pool" / "validation" / "pool.json"
    broken = first.replace('"finished": true', '"finished": false', 2).replace(
        '"finished": false', '"finished": true', 1
    )
    assert broken.count("false") == 1  # the second one was cut off
    index.write_text(broken)
    passed = []
    begin = PoolFolder.begin_member
    monkeypatch.setattr(PoolFolder, "begin_member", lambda self, m, **more: passed.append(m.name) or begin(self, m))
    before = [np.array(output) for output in PoolFolder(index.parent).pool().outputs]
    module = encas(networks(), tmp_path, resumed=str(tmp_path))
    run(module, data=data)
    assert passed == ["net1"]
    after = module.pool("validation")
    assert after.names == ["net0", "net1", "net2"]
    assert np.array_equal(after.outputs[0], before[0])


def test_a_run_that_is_not_resumed_stores_all_again(tmp_path, monkeypatch):
    """The folder may be that of an earlier run, with other weights."""
    passed = []
    begin = PoolFolder.begin_member
    monkeypatch.setattr(PoolFolder, "begin_member", lambda self, m, **more: passed.append(m.name) or begin(self, m))
    for _ in range(2):
        run(encas(networks(2), tmp_path), data=digits())
    assert passed == ["net0", "net1"] * 2


def test_outputs_that_are_not_finite_name_member_and_sample(tmp_path):
    entry = dict(networks(2)[1])
    weights = torch.load(entry["weights"], weights_only=True)
    name = list(weights)[-1]
    weights[name] = torch.full_like(weights[name], torch.nan)
    torch.save(weights, tmp_path / "nan.pt")
    members = [networks(2)[0], entry | {"weights": str(tmp_path / "nan.pt")}]
    with pytest.raises(UserError, match="member net1: its logits hold NaN or infinity, first at sample 0"):
        run(encas(members, tmp_path / "run"), data=digits())


def test_it_needs_the_method(tmp_path):
    from callbacks.member_outputs import MemberOutputs

    with pytest.raises(UserError, match="MemberOutputs needs method=encas, not CONet"):
        MemberOutputs().setup(None, conet(), "fit")
