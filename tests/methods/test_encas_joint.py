"""ENCAS-joint: a candidate is the cascade that its file builds, and the archive learns from all its sub-nets."""

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.evolution.budget import keys
from src.methods.encas_joint import SUBNETS, EncasJoint
from src.methods.weights import load_weights
from src.networks.cascade_rule import half_softmax
from src.reporting.candidates import Candidate
from src.runtime.architecture import FRONT, WEIGHTS, load_architecture
from src.runtime.build import network_from
from src.runtime.members import given_members
from tests.evolving import ELASTIC, SLIM, evolve, joint
from tests.searching import BASE, digits, settings


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search over two super-nets, with its folder."""
    folder = tmp_path_factory.mktemp("joint")
    module = joint(folder, swa_iterations=0)
    evolve(module, folder)
    return module, folder


def cascades(module) -> list[Candidate]:
    """Those that were judged by the weights that stay; sub-nets that answer alone are left out."""
    last = module.plan.iterations
    return [c for c in module.candidates if c.extra["iteration"] >= last and len(c.architecture["members"]) == 2]


def test_a_candidate_is_what_its_config_and_weights_make_live(searched):
    """What was judged by stored outputs would not be what the user gets."""
    module, _ = searched
    images, targets = next(iter(digits().whole_validation()))
    base, *front = module.kept_networks()
    assert len(front) > 0
    for kept in front:  # some of them are sub-nets that stand alone
        cascade = kept.network()
        cascade.reset_counts()
        with torch.no_grad():
            wrong = cascade(images).argmax(1) != targets
        assert 100 * float(wrong.float().mean()) == pytest.approx(kept.candidate.error)
        assert round(cascade.average_macs()) == kept.candidate.macs
        assert sum(p.numel() for p in cascade.parameters()) == kept.candidate.params
    with torch.no_grad():
        wrong = half_softmax(base.network()(images)).argmax(1) != targets
    alone = [value for c in cascades(module) for name, value in c.extra.items() if name.startswith("error_")]
    assert 100 * float(wrong.float().mean()) == pytest.approx(min(alone))


def test_each_super_net_leaves_a_pool_of_its_front(searched):
    """A pipeline goes on with these by method=encas."""
    module, folder = searched
    members = given_members([str(folder / SUBNETS)])
    assert {member.weights.stem.partition("-")[0] for member in members} == {"big", "slim"}
    for member in members:
        load_weights(network_from(member.config), member.weights)
    weights = torch.load(folder / FRONT / WEIGHTS, weights_only=True)
    assert weights.keys() == {n for kept in module.kept_networks()[1:] for n in kept.config["names"]}
    assert load_architecture(str(members[0].weights.with_suffix(".yaml"))) == members[0].config


def test_rows_come_back_from_candidates(searched):
    """An archive that is not recognised would be evaluated again, and the surrogate fitted to other rows."""
    module, _ = searched
    assert np.array_equal(module.archive, module.known_rows(cascades(module)))


def test_sub_nets_that_answer_alone_are_candidates_once(searched):
    """A front of cascades only would miss the cheapest; a cascade that never goes on would stand beside its first."""
    module, folder = searched
    alone = [c for c in module.candidates if len(c.architecture["members"]) == 1]
    names = {name for c in alone for name in module.space.members_of(c.architecture)}
    assert names == {path.stem for path in (folder / SUBNETS).glob("*.pt")} != set()
    current = [(c.error, c.macs) for c in module.current_candidates()]
    assert all(current.count((c.error, c.macs)) == 1 for c in alone)


def test_the_first_archive_holds_both_ends_together(tmp_path):
    module = joint(tmp_path, doe=6)
    first, second, *_ = module.first_archive()
    for row, end in ((first, "largest"), (second, "smallest")):
        parts = module.space.subnets(row[None])
        ends = [getattr(space, end) for space in module.spaces]
        assert all(np.array_equal(part[0], own) for part, own in zip(parts, ends, strict=True))


def test_super_nets_are_trained_by_turns_with_their_own_sub_nets(tmp_path, monkeypatch):
    module = joint(tmp_path, warmup_epochs=1)
    for epoch, number in enumerate([0, 1, 0, 1]):
        monkeypatch.setattr(type(module), "current_epoch", epoch)
        trained, row = module.trained_subnet(3)
        assert trained == number
        images = torch.zeros(2, 1, 8, 8)
        module.network(images, *module.call_of(trained, row)).sum().backward()
        got = [any(p.grad is not None for p in module.supernet(k).parameters()) for k in (0, 1)]
        assert got == [number == 0, number == 1]  # under DDP the other one's gradients stay None on all ranks
        module.zero_grad(set_to_none=True)


@pytest.mark.parametrize("searcher", ["gomea", "nsga2", "random"])
@pytest.mark.parametrize("with_archive", [True, False])
def test_archives_are_different_cascades(searched, searcher, with_archive, tmp_path):
    module, _ = searched
    asking = joint(tmp_path, {"searcher": searcher, "with_archive": with_archive})
    asking.candidates, asking.iteration, asking.archive_size = module.candidates, module.iteration, 3
    rows, predicted = asking.proposed(lambda: None)
    assert len(rows) == len(set(keys(rows))) == 3
    assert np.array_equal(rows, asking.space.canonical(rows))
    assert len(predicted) == (0 if searcher == "random" else 3)


@pytest.mark.parametrize(
    ("supernets", "told"),
    [
        ({"a": ELASTIC}, "two super-nets at least; method=nat is for one"),
        ({"a": ELASTIC, "b": BASE}, "method.supernets.b: .*ElasticSupernet"),
        ({"a": ELASTIC, "b": {**SLIM, "in_channels": 3}}, "method.supernets.b: .*in_channels=3: the images have 1"),
        ({"a": ELASTIC, "b": {**SLIM, "num_classes": 7}}, "method.supernets.b.num_classes=7: the data has 10 classes"),
        ({"a": ELASTIC, "b": 3}, "method.supernets.b=3 is not allowed; it must be a model config"),
        (["a", "b"], "two super-nets at least"),
    ],
)
def test_super_nets_that_are_refused(supernets, told, tmp_path):
    with pytest.raises(UserError, match=told):
        EncasJoint(base={}, input_shape=(1, 8, 8), supernets=supernets, folder=str(tmp_path), **settings())
