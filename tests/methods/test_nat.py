"""NAT: which sub-net a step trains, what an error is, what is outdated, and the weights that stay."""

from collections import Counter

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.evolution.budget import keys
from src.methods.subnet_evolution import SUPERNET
from src.methods.weights import load_weights
from src.runtime.architecture import FRONT
from src.runtime.build import network_from
from tests.evolving import SHORT, evolve, judged, nat
from tests.searching import BASE, digits


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that was given no trainer, in its third epoch: iteration 0 follows two epochs of warm-up."""
    module = nat(tmp_path, warmup_epochs=2, doe=8)
    monkeypatch.setattr(type(module), "current_epoch", 2)
    return module


def test_the_sub_net_of_a_step_hangs_on_seed_and_step_alone(module, tmp_path):
    """Ranks would train different ones, and a resumed search others than the one that was not killed."""
    drawn = [module.trained_subnet(step)[1] for step in range(200)]
    torch.manual_seed(5)
    assert np.array_equal(module.trained_subnet(7)[1], drawn[7])
    assert set(keys(np.array(drawn))) == set(keys(module.archive))
    other = nat(tmp_path, warmup_epochs=2, doe=8, seed=1)
    other.archive = module.archive
    assert any(not np.array_equal(other.trained_subnet(step)[1], drawn[step]) for step in range(20))


def test_marginals_draw_each_gene_from_a_row_of_its_own(module):
    """With whole rows only sub-nets of the archive would be trained; NAT trains those between them too."""
    module.sampling = "marginals"
    module.archive = np.array([module.space.largest, module.space.smallest])
    drawn = np.array([module.trained_subnet(step)[1] for step in range(200)])
    assert len(set(keys(drawn))) > 2
    assert np.array_equal(drawn, module.space.canonical(drawn))


def test_the_warm_up_trains_the_ends_for_their_shares(module, monkeypatch):
    monkeypatch.setattr(type(module), "current_epoch", 0)
    module.warmup_shares = (0.5, 0.3)
    counts = Counter(keys(np.array([module.trained_subnet(step)[1] for step in range(1000)])))
    largest, smallest = (counts[key] for key in keys(np.stack([module.space.largest, module.space.smallest])))
    assert abs(largest - 500) < 60
    assert abs(smallest - 300) < 60
    assert len(counts) > 10  # the others are random


def test_what_a_step_leaves_out_is_not_moved(module):
    """Weight decay would wear away the blocks that the archive has no use for, though nothing trains them."""
    module.network(torch.randn(4, 1, 8, 8), module.space.genotype(module.space.smallest)).sum().backward()
    left = {name: p.clone() for name, p in module.network.named_parameters() if p.grad is None}
    torch.optim.SGD(module.network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5).step()
    moved = dict(module.network.named_parameters())
    assert any(".1.2." in name for name in left)  # the third block of the second stage
    assert all(torch.equal(moved[name], before) for name, before in left.items())


def test_what_other_weights_were_worth_is_outdated(module):
    """Else the front would hold sub-nets that some earlier weights made look good."""
    module.candidates = judged(module, np.array([10.0, 20.0]))
    module.outdate()
    assert not any(candidate.outdated for candidate in module.candidates)  # those of the iteration under way
    module.iteration = 1
    module.outdate()
    assert all(candidate.outdated for candidate in module.candidates)
    assert module.chosen() is None


def test_with_weights_that_stay_nothing_is_outdated(tmp_path):
    frozen = nat(tmp_path, warmup_epochs=1, epochs=0)
    frozen.candidates = judged(frozen, np.array([10.0, 20.0, 15.0]))
    frozen.iteration = 1
    frozen.outdate()
    assert not any(candidate.outdated for candidate in frozen.candidates)
    rows, _ = frozen.proposed(lambda: None)
    assert not set(keys(rows)) & set(keys(frozen.known_rows(frozen.candidates)))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search whose weights are averaged, with its folder."""
    folder = tmp_path_factory.mktemp("nat")
    module = nat(folder, iterations=1, swa_iterations=2)
    evolve(module, folder)
    return module, folder


def test_the_kept_front_has_the_errors_of_the_candidates(searched):
    """The files are what the user gets; with other weights or statistics they would not be what was judged."""
    module, _ = searched
    data = digits()
    images, targets = next(iter(data.whole_validation()))
    base, *front = module.kept_networks()
    assert base.candidate is None
    assert len(front) > 0
    for kept in front:
        with torch.no_grad():
            wrong = kept.network()(images).argmax(1) != targets
        assert 100 * float(wrong.float().mean()) == pytest.approx(kept.candidate.error)


def test_averaged_weights_are_judged_last(searched):
    """The front would be that of the last iteration's weights, with the files of the mean."""
    module, folder = searched
    assert module.final
    assert module.average.count == 2
    mean = module.average.state(module.network.state_dict())
    kept = torch.load(folder / SUPERNET, weights_only=True)
    assert all(torch.equal(value, kept[name]) for name, value in mean.items())
    last = SHORT["iterations"] + 1
    assert {c.extra["iteration"] for c in module.candidates if not c.outdated} == {last}
    assert [measure["iteration"] for measure in module.measures] == [0, 1]
    assert {"spearman", "kendall", "rmse"} <= set(module.measures[1])


def test_another_search_starts_from_its_super_net(searched, tmp_path):
    """Without training it judges the same sub-nets the same."""
    module, folder = searched
    other = nat(tmp_path, supernet=str(folder), epochs=0, archive=3)
    evolve(other, tmp_path)
    first, second = (
        {key: c.error for key, c in zip(keys(own.known_rows(current)), current, strict=True)}
        for own, current in ((module, module.current_candidates()), (other, other.candidates))
    )
    assert first.keys() & second.keys()
    assert all(first[key] == second[key] for key in first.keys() & second.keys())
    network = network_from(other.architecture())
    load_weights(network, tmp_path / FRONT / f"candidate_{other.chosen().id}.pt")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"doe": 2}, "method.doe=2 is not allowed"),
        ({"archive": 10**4}, "method.archive=10000 is not allowed; no more than"),
        ({"doe": 10**4}, "method.doe=10000 is not allowed; no more than"),
        ({"max_macs": 0.001}, "method.max_macs=0.001: .* reach from"),
        ({"epochs": 0}, "method.epochs=0 and method.warmup_epochs=0 train nothing: give .*method.pretrained"),
        ({"warmup_largest": 0.7, "warmup_smallest": 0.4}, "must come to 1 at most"),
        ({"pretrained": "a.pt", "supernet": "b"}, "exclude each other"),
        ({"base": BASE}, "ElasticSupernet"),
        ({"input_shape": (3, 8, 8)}, "the images have 3 channels"),
    ],
)
def test_what_is_refused(options, told, tmp_path):
    with pytest.raises(UserError, match=told):
        nat(tmp_path, **options)


@pytest.mark.parametrize("option", ["pretrained", "supernet"])
def test_weights_that_are_not_there(option, tmp_path):
    with pytest.raises(UserError, match=f"method.{option}={tmp_path}/none: "):
        evolve(nat(tmp_path, **{option: f"{tmp_path}/none"}), tmp_path)
