"""The search of a trained super-net's widths, from start to end on a tiny network."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from callbacks.architecture_export import ArchitectureExport
from callbacks.width_search import WidthSearch
from src.elastic.sharing import LocallyFreeSharing
from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.methods.cafenet import SUPERNET
from src.methods.latency import LatencyProbe
from src.methods.width_evaluation import WidthEvaluation
from src.reporting.candidates import pareto_front
from src.runtime.architecture import load_architecture
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from tests.searching import cafenet, conet, digits, run, run_cafenet

OFFLINE = {"searcher": "random", "evaluations": 8}


@pytest.fixture(scope="module")
def supernet(tmp_path_factory) -> str:
    """The folder of a run, whose super-net the other searches take."""
    folder = tmp_path_factory.mktemp("supernet")
    run_cafenet(cafenet(epochs=3), folder)
    return str(folder)


def found(module) -> list:
    return [replace(candidate, seconds=0) for candidate in module.candidates]


@pytest.mark.parametrize("searcher", ["evolution", "random", "uniform"])
def test_every_candidate_keeps_to_the_budget_and_the_same_seed_finds_the_same(supernet, tmp_path, searcher):
    modules = [cafenet(supernet=supernet, max_macs=0.6, seed=seed) for seed in (0, 0, 1)]
    for draw, module in enumerate(modules):
        torch.manual_seed(draw)
        run_cafenet(module, tmp_path, searcher=searcher)
    first, second, other = modules
    assert found(first) == found(second)
    least, most = first.macs_band
    assert most <= 0.6 * first.base_network["macs"]
    for candidate in first.candidates:
        assert candidate.macs <= most
        assert candidate.macs >= least or searcher == "uniform"
        network = network_from(first.space.config(candidate.architecture))
        assert channel_graph(network, (1, 8, 8)).widths() == candidate.architecture
        assert sum(p.numel() for p in network.parameters()) == candidate.params
    assert len({tuple(c.architecture.values()) for c in first.candidates}) == len(first.candidates)
    if searcher == "uniform":
        assert len(first.candidates) == 1
    else:
        assert len(first.candidates) == 18
        assert [c.architecture for c in first.candidates] != [c.architecture for c in other.candidates]


def test_the_error_of_a_candidate_is_that_of_its_index_sets(supernet, tmp_path):
    """Drawn by (seed, width) alone, so that a width has the same error whoever evaluates it and when."""
    module = cafenet(supernet=supernet)
    trainer = run_cafenet(module, tmp_path, width_reduce="max", k_eval=3, **OFFLINE)
    sharing = LocallyFreeSharing(module.space.edges, module.space.multiples, 1)
    data = trainer.datamodule
    evaluation = WidthEvaluation(
        module.network, module.task, data.calibration_batches(128), data.whole_validation(), "max"
    )
    for candidate in module.candidates:
        row = module.space.row(candidate.architecture).tolist()
        value = evaluation.evaluate(sharing.draw(row, 3, keyed_generator(0, "evaluation", *row)))
        assert candidate.error == pytest.approx(value.error)
        assert candidate.extra["train_loss"] == pytest.approx(value.train_loss)


def test_the_search_changes_nothing_of_the_super_net(supernet, tmp_path):
    module = cafenet(supernet=supernet)
    before = torch.load(Path(supernet) / SUPERNET, weights_only=True)["network"]
    trainer = run_cafenet(module, tmp_path)
    assert trainer.global_step == 0
    assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())
    kept = torch.load(tmp_path / SUPERNET, weights_only=True)["network"]
    assert all(torch.equal(value, before[name]) for name, value in kept.items())


def test_a_search_never_opens_the_test_split(tmp_path):
    """Widths that are chosen on test images would be compared on them too."""
    data = digits()

    def opened():
        raise AssertionError("the test split was opened")

    data.read_test = opened
    module = cafenet(epochs=1)
    run_cafenet(module, tmp_path, data=data)
    assert module.candidates
    with pytest.raises(AssertionError, match="the test split was opened"):
        data.test_dataloader()


def test_without_a_budget_the_whole_front_is_searched_and_written(supernet, tmp_path):
    module = cafenet(supernet=supernet, max_macs=None)
    run_cafenet(module, tmp_path, ArchitectureExport(str(tmp_path)), evaluations=30)
    front = pareto_front(module.candidates)
    assert len(front) >= 2
    macs = [candidate.macs for candidate in module.candidates]
    assert min(macs) < 0.2 * module.base_network["macs"]
    assert max(macs) > 0.6 * module.base_network["macs"]
    files = sorted(path.name for path in (tmp_path / "front").iterdir())
    assert files == sorted(f"candidate_{candidate.id}.yaml" for candidate in front)
    for candidate in front:
        network = network_from(load_architecture(tmp_path / "front" / f"candidate_{candidate.id}.yaml"))
        assert channel_graph(network, (1, 8, 8)).widths() == candidate.architecture
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert load_architecture(tmp_path) == module.architecture()


def test_latency_may_be_an_objective(supernet, tmp_path, monkeypatch):
    """It is measured on the extracted network, in evaluation mode."""

    def measure(self, network, input_shape, device):
        assert input_shape == (1, 8, 8)
        return float(network.stem.out_channels) + self.batch

    monkeypatch.setattr(LatencyProbe, "measure", measure)
    module = cafenet(supernet=supernet, max_macs=None)
    run_cafenet(module, tmp_path, objectives=["error", "latency"], evaluations=48, latency_batch=3)
    assert all(c.extra["latency_ms"] == c.architecture["stem"] + 3 for c in module.candidates)
    taken = torch.tensor([c.extra["latency_ms"] for c in module.candidates])
    assert taken[24:].mean() < taken[:12].mean()  # it is made small


def test_latency_is_really_measured(supernet, tmp_path):
    module = cafenet(supernet=supernet)
    run_cafenet(module, tmp_path, objectives=["error", "latency"], latency_repeats=3, **OFFLINE)
    assert all(0 < c.extra["latency_ms"] < 1000 for c in module.candidates)


def test_the_prior_begins_with_widths_of_low_losses(supernet, tmp_path):
    plain, prior = cafenet(supernet=supernet, max_macs=0.7), cafenet(supernet=supernet, max_macs=0.7)
    run_cafenet(plain, tmp_path)
    run_cafenet(prior, tmp_path, prior=True)
    assert [c.architecture for c in plain.candidates[:6]] != [c.architecture for c in prior.candidates[:6]]
    assert all(c.macs <= 0.7 * prior.base_network["macs"] for c in prior.candidates)


def test_what_does_not_go_together_is_refused_before_any_training(supernet, tmp_path):
    with pytest.raises(UserError, match=r"method\.prior=true needs a budget"):
        run_cafenet(cafenet(supernet=supernet, max_macs=None), tmp_path, prior=True)
    with pytest.raises(UserError, match=r"method\.epochs=0 leaves the super-net untrained"):
        run_cafenet(cafenet(epochs=0), tmp_path)


def test_uniform_scaling_needs_no_super_net(tmp_path):
    """Weights that were never trained have no error that means anything, and are not kept for a later search."""
    module = cafenet(epochs=0, max_macs=0.5)
    run_cafenet(module, tmp_path, searcher="uniform")
    (candidate,) = module.candidates
    assert math.isnan(candidate.error)
    assert module.architecture() == module.space.config(candidate.architecture)
    assert not (tmp_path / SUPERNET).exists()


def test_a_front_with_latency_is_that_of_its_objectives(supernet, tmp_path):
    module = cafenet(supernet=supernet, max_macs=None)
    asked = {"objectives": ["error", "latency"], "latency_repeats": 1}
    run_cafenet(module, tmp_path, ArchitectureExport(str(tmp_path)), **asked, **OFFLINE)
    assert module.objectives == ("error", "latency_ms")
    wanted = {f"candidate_{c.id}" for c in pareto_front(module.candidates, module.objectives)}
    assert {path.stem for path in (tmp_path / "front").iterdir()} == wanted


class Interrupt(pl.Callback):
    """Keeps a checkpoint when so many candidates are known."""

    def __init__(self, path, after: int) -> None:
        self.path, self.after = path, after

    def on_candidate(self, trainer, pl_module, candidate):
        if candidate.id + 1 == self.after:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("after", [3, 11])
def test_from_a_checkpoint_within_the_search_it_goes_on_as_if_it_had_not_been_interrupted(tmp_path, after):
    """In the first generation and in a later one; nothing is evaluated twice."""
    whole = cafenet(epochs=1)
    run_cafenet(whole, tmp_path, Interrupt(tmp_path / "a.ckpt", after))
    resumed, seen = cafenet(epochs=1), []

    class See(pl.Callback):
        def on_candidate(self, trainer, pl_module, candidate):
            seen.append(candidate.id)

    run_cafenet(resumed, tmp_path, See(), checkpoint=str(tmp_path / "a.ckpt"))
    assert found(resumed) == found(whole)
    assert seen == list(range(after, 18))
    state = resumed.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.network.state_dict().items())


class Save(pl.Callback):
    def __init__(self, path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_from_a_checkpoint_within_the_training_it_ends_with_the_same_widths(tmp_path):
    whole, resumed = cafenet(), cafenet()
    run_cafenet(whole, tmp_path, Save(tmp_path / "a.ckpt", 7))
    run_cafenet(resumed, tmp_path, checkpoint=str(tmp_path / "a.ckpt"))
    assert found(resumed) == found(whole)


def test_a_space_smaller_than_the_evaluations_is_searched_whole(tmp_path):
    module = cafenet(epochs=1, max_macs=None, space=partial(BinSpace, bin_rule="uniform", bins_per_group=2))
    run_cafenet(module, tmp_path, searcher="random", evaluations=100)
    assert len(module.candidates) == 16
    assert module.progress() == (16, 16)


def test_it_says_which_method_it_needs(tmp_path):
    with pytest.raises(UserError, match="WidthSearch needs method=cafenet, not CONet"):
        run(conet(), WidthSearch(str(tmp_path)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"searcher": "evolve"}, "method.searcher='evolve' is not known"),
        ({"objectives": ["macs"]}, "method.objectives=.* with error in it"),
        ({"objectives": ["error", "time"]}, "method.objectives='time' is not known"),
        ({"objectives": "error"}, "method.objectives='error' is not allowed"),
        ({"population": 1}, "method.population=1"),
        ({"evaluations": 0}, "method.evaluations=0"),
        ({"parents": 1}, "method.parents=1"),
        ({"crossover": 2}, "method.crossover=2"),
        ({"mutation": -1}, "method.mutation=-1"),
        ({"resample": math.nan}, "method.resample=nan"),
        ({"prior": "yes"}, "method.prior='yes'"),
        ({"k_eval": 0}, "method.k_eval=0"),
        ({"width_reduce": "best"}, "method.width_reduce='best'"),
        ({"latency_batch": 0}, "method.latency_batch=0"),
        ({"latency_repeats": 0}, "method.latency_repeats=0"),
    ],
)
def test_its_arguments_are_checked(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        WidthSearch(str(tmp_path), **options)
