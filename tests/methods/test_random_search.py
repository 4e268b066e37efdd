"""A random search from start to end, on a tiny network."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.reporting.candidates import Candidate
from src.runtime.build import build, network_from
from src.spaces.named import named_space
from tests.searching import BASE, MOBILE, random_search, run_random, settings

BASE_MACS = random_search(trials=1).base_network["macs"]


def identities(module) -> list[tuple[int, ...]]:
    return [tuple(genotype.values()) for genotype in module.genotypes]


def test_it_trains_the_candidates_that_it_drew_within_the_budget():
    """The baseline has exactly the budget of a search: evaluations, epochs and MACs."""
    module = random_search(trials=3, epochs_per_trial=2, min_macs=0.5, max_macs=1.0)
    trainer = run_random(module)
    assert trainer.current_epoch == 6
    assert [c.architecture for c in module.candidates] == module.genotypes
    assert [c.step for c in module.candidates] == [1, 3, 5]
    assert all(0.5 * BASE_MACS <= c.macs <= BASE_MACS and c.parent is None for c in module.candidates)
    for c in module.candidates:
        network = network_from(module.space.config(c.architecture))
        assert channel_graph(network, (1, 8, 8)).widths() == c.architecture
        assert sum(p.numel() for p in network.parameters()) == c.params


CELLS = {
    "_target_": "src.networks.cell_network.CellNetwork",
    "genotype": "DARTS_V2",
    "channels": 2,
    "layers": 2,
    "in_channels": 1,
}


ELASTIC = {"_target_": "src.networks.elastic_mobile.supernet.ElasticSupernet", "space": "tiny_images", "in_channels": 1}


@pytest.mark.parametrize(("space", "base"), [("cells", CELLS), ("operations", MOBILE), ("subnets", ELASTIC)])
def test_it_draws_from_any_space_within_the_budget(space, base):
    """A search for cells or operations is compared with cells or operations that were drawn at random."""
    named = partial(named_space, name=space)
    module = random_search(trials=2, base=base, space=named, min_macs=0.7, max_macs=1.1)
    run_random(module)
    least, most = module.macs_band
    for c in module.candidates:
        network = network_from(module.candidate_config(c))
        assert least <= c.macs <= most
        assert sum(p.numel() for p in network.parameters()) == c.params
        assert list(module.candidate_cells(c)) == [space]
    assert module.architecture() == module.space.config(
        min(module.candidates, key=lambda c: (c.error, c.macs)).architecture
    )


def test_sub_nets_are_compared_with_the_largest_not_with_the_super_net():
    """Whose unused weights would count as its parameters, and whose MACs no graph can tell."""
    module = random_search(trials=1, base=ELASTIC, space=partial(named_space, name="subnets"))
    assert module.base == module.space.config(module.space.start) == module.architecture()


def test_the_result_is_the_candidate_of_lowest_validation_error():
    module = random_search(trials=4)
    assert module.architecture() == BASE  # before the first candidate
    errors = [5.0, 3.0, 3.0, math.nan]
    for k, (genotype, error) in enumerate(zip(module.genotypes, errors, strict=True)):
        module.candidates.append(Candidate(k, None, k, error, 100 - k, 10, 0.1, genotype))
    assert module.architecture() == module.space.config(module.genotypes[2])  # of equal errors the fewer MACs
    assert module.remark() == "4 random candidates of 97 to 100 MACs, 1 of them diverged"
    module.candidates = [replace(candidate, error=math.nan) for candidate in module.candidates]
    assert module.architecture() == BASE


def test_a_candidate_depends_on_seed_and_trial_alone():
    """Not on how many there will be, nor on what was drawn before: ranks and resumed searches must agree."""
    torch.manual_seed(1)
    long = random_search(trials=12, seed=3)
    torch.manual_seed(2)
    short = random_search(trials=5, seed=3)
    assert identities(long)[:5] == identities(short)
    assert identities(random_search(trials=5, seed=4)) != identities(short)


def test_no_architecture_comes_twice_and_more_than_there_are_cannot_be_asked_for():
    """A band of one percent leaves some hundreds of vectors."""
    options = {"min_macs": 0.99, "max_macs": 1.0}
    module = random_search(trials=20, **options)
    assert len(set(identities(module))) == 20
    with pytest.raises(UserError, match=r"method.trials=2000: only \d+ different .* give method.trials=\d+ or"):
        random_search(trials=2000, **options)


def test_the_base_can_be_a_candidate():
    module = random_search(trials=2, include_base=True)
    assert module.genotypes[0] == module.space.start
    assert sum(p.numel() for p in module.network.parameters()) == module.base_network["params"]
    with pytest.raises(UserError, match=r"include_base=true: the model .* has \d+,\d+ MACs"):
        random_search(include_base=True, max_macs=0.8)


def test_macs_are_shares_of_the_start_or_numbers():
    assert random_search(min_macs=0.5, max_macs=1).macs_band == (math.ceil(BASE_MACS / 2), BASE_MACS)
    assert random_search(min_macs=30_000, max_macs=40_000).macs_band == (30_000, 40_000)
    module = random_search(min_macs=None, max_macs=None)
    assert module.macs_band == module.space.reachable()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "method.trials=0"),
        ({"epochs_per_trial": 0}, "method.epochs_per_trial=0"),
        ({"min_macs": None, "max_macs": 1000}, r"method.max_macs=1000: no .* reach from [\d,]+ to [\d,]+ MACs"),
        ({"min_macs": 9.9, "max_macs": 0.5}, "method.min_macs=9.9, method.max_macs=0.5: the least .* above the most"),
        ({"min_macs": -1}, "method.min_macs=-1"),
        ({"max_macs": "many"}, "method.max_macs='many'"),
        ({"include_base": "maybe"}, "method.include_base='maybe'"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(UserError, match=message):
        random_search(**options)


def test_its_config_builds_it_with_the_budget_of_a_search():
    """Two methods with other defaults would be compared unequally by whoever gives none."""
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        conet = compose("search").method
        config = compose("search", overrides=["method=random", "method.min_width=4", "method.max_macs=2"])
    assert (config.method.trials, config.method.epochs_per_trial) == (conet.trials, conet.epochs_per_trial)
    module = build(config.method.module, "method", base=BASE, input_shape=(1, 8, 8), seed=1, **settings())
    assert module.macs_band == (math.ceil(BASE_MACS / 2), 2 * BASE_MACS)
    assert set(module.space.bounds.values()) == {(4, 256)}
    assert len(module.genotypes) == config.method.trials


class Save(pl.Callback):
    """Keeps a checkpoint of epoch `epoch`, as it stands after every other callback."""

    def __init__(self, path, epoch):
        self.path, self.epoch = path, epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_from_a_checkpoint_it_goes_on_as_if_it_had_not_been_interrupted(tmp_path, epoch):
    """In the middle of a trial and at its end; loads with weights_only, into a module that was made for the base."""
    module = random_search(trials=2, epochs_per_trial=2)
    run_random(module, Save(tmp_path / "a.ckpt", epoch))
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    again = random_search(trials=2, epochs_per_trial=2)
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
    assert again.trial == (epoch + 1) // 2
    assert channel_graph(again.network, (1, 8, 8)).widths() == module.genotypes[again.trial]
    assert again.candidates == module.candidates[: again.trial]

    resumed = random_search(trials=2, epochs_per_trial=2)
    run_random(resumed, checkpoint=str(tmp_path / "a.ckpt"))
    assert [replace(c, seconds=0) for c in resumed.candidates] == [replace(c, seconds=0) for c in module.candidates]
    assert torch.equal(resumed.network.fc.weight, module.network.fc.weight)


def test_the_checkpoint_of_another_search_is_refused(tmp_path):
    """With another seed the candidate under way would be recorded as one that it is not."""
    trainer = run_random(random_search(trials=2))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    for other in ({"seed": 1}, {"trials": 1}):
        with pytest.raises(UserError, match="another seed, budget or model"):
            random_search(**{"trials": 2, **other}).on_load_checkpoint(checkpoint)
