"""The super-net's training, min over the candidates of a width, and what the method promises around it."""

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import nn

from callbacks.flops_bin_sampling import FlopsBinSampling
from src.elastic.index_sets import IndexSet
from src.elastic.sharing import all_index_sets
from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.methods.cafenet import CafeNet
from src.reporting.candidates import Candidate
from src.runtime.build import build, network_from
from src.spaces.bin_space import BinSpace
from tests.searching import BASE, cafenet, run_cafenet, settings


class Dropping(nn.Module):
    """One width that may change, batch norm and much dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(6, 10)

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


TOY = {"base": {"_target_": f"{__name__}.Dropping"}, "space": partial(BinSpace, bin_rule="uniform", bins_per_group=6)}


class Steps(pl.Callback):
    """Notes of each step the network before it, the batch, the candidates, their losses and the winner."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        if not pl_module.searching():
            self.seen.append(
                {
                    "before": copy.deepcopy(pl_module.network),
                    "batch": batch,
                    "paths": pl_module.paths,
                    "more": pl_module.more_paths,
                }
            )

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
        if not pl_module.searching():
            after = {name: value.clone() for name, value in pl_module.network.state_dict().items()}
            self.seen[-1] |= {"winner": pl_module.winner, "losses": pl_module.path_loss.tolist(), "after": after}


class Given(pl.Callback):
    """Makes the candidates of each step others: `paths(step, candidates)`."""

    def __init__(self, paths) -> None:
        self.paths = paths

    def on_train_batch_start(self, trainer, pl_module, batch, index):
        if not pl_module.searching():
            pl_module.paths = self.paths(trainer.global_step, pl_module.paths)
            pl_module.callback(FlopsBinSampling)._numbers = []  # it did not draw them


def losses_of(network, paths, batch) -> list[float]:
    """Of each path with the statistics of the batch."""
    images, targets = batch
    with torch.no_grad():
        return [
            float(F.cross_entropy(network.extracted(network.path(path)).train()(images), targets)) for path in paths
        ]


def fitted(tmp_path, *more, sampling=None, **options) -> CafeNet:
    module = cafenet(epochs=1, **options)
    run_cafenet(module, tmp_path, *more, sampling=sampling, searcher="uniform", k_eval=1)
    return module


# the step


def test_the_candidate_of_lowest_loss_is_trained(tmp_path):
    """Min-min: of each width the best channels, on the same batch and with the same weights."""
    steps = Steps()
    fitted(tmp_path, steps, sampling={"k_train": 3})
    assert len(steps.seen) == 5
    for step in steps.seen:
        expected = losses_of(step["before"], step["paths"], step["batch"])
        assert step["losses"] == pytest.approx(expected, abs=1e-5)
        assert step["winner"] == expected.index(min(expected))
        assert len({tuple(kept.indices for kept in path.values()) for path in step["paths"]}) == len(step["paths"])
    assert {step["winner"] for step in steps.seen} != {0}


def test_only_the_winner_is_updated_and_its_statistics_alone(tmp_path):
    """The first step by hand: a forward pass of the winner, its gradients, one step of the optimizer."""
    steps = Steps()
    fitted(tmp_path, steps, sampling={"k_train": 3}, scheduler=None)
    step = steps.seen[0]
    network, (images, targets) = step["before"].train(), step["batch"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    F.cross_entropy(network(images, network.path(step["paths"][step["winner"]])), targets).backward()
    optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.allclose(step["after"][name], value, atol=1e-6), name


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_scoring_leaves_no_trace(tmp_path, share):
    """Neither in weights and statistics nor in what is drawn later: as if the winners alone had ever been there."""
    steps, options = Steps(), {"score_share": share, "max_macs": None, **TOY}
    module = fitted(tmp_path, steps, sampling={"offset_r": 2, "k_train": 6}, **options)
    winners = [step["paths"][step["winner"]] for step in steps.seen]
    assert sum(len(step["paths"]) > 1 for step in steps.seen) >= 3
    alone = fitted(tmp_path, Given(lambda step, _: [winners[step]]), **options)
    expected = alone.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in module.network.state_dict().items())


def test_of_one_layer_all_candidates_are_tried(tmp_path):
    """K as large as there are index sets: the choice is that of brute force."""
    steps = Steps()
    module = cafenet(epochs=1, max_macs=None, **TOY)
    module.network.model.drop.p = 0.0
    run_cafenet(module, tmp_path, steps, sampling={"offset_r": 2, "k_train": 20}, searcher="uniform", k_eval=1)
    edges = module.space.edges["conv"]
    several = 0
    for step in steps.seen:
        bins = edges.index(len(step["paths"][0]["conv"])) + 1
        paths = [{"conv": IndexSet(6, kept)} for kept in all_index_sets(edges, bins, 2)]
        losses = losses_of(step["before"], paths, step["batch"])
        assert min(step["losses"]) == pytest.approx(min(losses), abs=1e-6)
        assert step["paths"][step["winner"]] == paths[losses.index(min(losses))]
        several += len(paths) > 1
    assert several >= 3


def test_with_one_candidate_it_is_any_of_them(tmp_path):
    steps = Steps()
    fitted(tmp_path, steps, sampling={"k_train": 1}, max_macs=None, **TOY)
    assert all(len(step["paths"]) == 1 and step["winner"] == 0 for step in steps.seen)
    for step in steps.seen:
        assert step["losses"][0] > 0


def test_dropout_is_drawn_alike_for_all_candidates(tmp_path):
    """Else luck would choose among them."""

    for share in (1.0, 0.5):
        steps = Steps()
        fitted(tmp_path, Given(lambda _, paths: paths[:1] * 3), steps, score_share=share, max_macs=None, **TOY)
        assert all(len(set(step["losses"])) == 1 and step["winner"] == 0 for step in steps.seen)


def test_a_part_of_the_batch_may_score(tmp_path):
    steps = Steps()
    fitted(tmp_path, steps, sampling={"k_train": 2}, score_share=0.25)
    for step in steps.seen:
        images, targets = step["batch"]
        expected = losses_of(step["before"], step["paths"], (images[:16], targets[:16]))
        if len(expected) > 1:
            assert step["losses"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_ranks_choose_by_their_mean_and_what_is_no_number_never_wins(tmp_path, share, monkeypatch):
    """A rank that chose by its own loss would train another path than the others."""
    others, asked = [math.nan, 5.0, -5.0, -5.0], []

    def reduce(self, tensor, *args, **kwargs):
        asked.append(tensor)
        return tensor + others[len(asked) - 1] if len(asked) <= len(others) else tensor

    def four(step, paths):
        if step == 0:
            monkeypatch.setattr(SingleDeviceStrategy, "reduce", reduce)
        return paths[:1] * 4 if step == 0 else paths

    steps = Steps()
    fitted(tmp_path, Given(four), steps, score_share=share)
    assert len(asked) > 4
    assert steps.seen[0]["losses"][0] == math.inf
    assert steps.seen[0]["winner"] == 2  # of equal ones the first


@pytest.mark.parametrize("count", [1, 2])
def test_the_sandwich_is_trained_too(tmp_path, count):
    """The gradients of the widest and a narrowest path are added to those of the winner."""
    steps = Steps()
    fitted(tmp_path, steps, sampling={"k_train": count, "sandwich": True}, scheduler=None)
    step = steps.seen[0]
    network, (images, targets) = step["before"].train(), step["batch"]
    assert len(step["more"]) == 2
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    paths = [network.path(path) for path in (step["paths"][step["winner"]], *step["more"])]
    for path in paths:
        F.cross_entropy(network(images, path), targets).backward()
    optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.allclose(step["after"][name], value, atol=1e-6), name


# validation and evaluation around the training


class Watch(pl.Callback):
    """Keeps the state around each validation."""

    def __init__(self) -> None:
        self.pairs, self._before = [], None

    @staticmethod
    def _state(pl_module):
        modes = [module.training for module in pl_module.network.modules()]
        return {name: value.clone() for name, value in pl_module.network.state_dict().items()}, modes

    def on_validation_start(self, trainer, pl_module):
        self._before = self._state(pl_module)

    def on_validation_end(self, trainer, pl_module):
        self.pairs.append((self._before, self._state(pl_module)))


def test_validation_judges_three_widths_and_changes_nothing(tmp_path):
    watch, module = Watch(), cafenet()
    trainer = run_cafenet(module, tmp_path, watch)
    assert len(watch.pairs) >= 2
    for (before, modes), (after, modes_after) in watch.pairs:
        assert modes == modes_after
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    metrics = trainer.callback_metrics
    for name in ("val/error", "val/error_narrowest", "val/error_random"):
        assert 0 <= float(metrics[name]) <= 100


# budgets


def test_an_impossible_budget_names_what_can_be_reached():
    least, most = cafenet().space.reachable()
    with pytest.raises(UserError, match=rf"method.max_macs=0.01: .*{least:,} to {most:,} MACs"):
        cafenet(max_macs=0.01)
    with pytest.raises(UserError, match=rf"method.max_macs=100: .*{least:,} to {most:,} MACs"):
        cafenet(max_macs=100)


def test_the_whole_budget_is_the_full_network(tmp_path):
    module = cafenet(epochs=1, max_macs=1.0, least_share=1.0)
    run_cafenet(module, tmp_path)
    assert [candidate.architecture for candidate in module.candidates] == [module.space.start]
    network = network_from(module.architecture())
    assert {name: p.shape for name, p in network.named_parameters()} == {
        name: p.shape for name, p in network_from(BASE).named_parameters()
    }


def test_budgets_are_shares_or_numbers():
    module = cafenet(max_macs=0.5, least_share=0.8)
    full = module.base_network["macs"]
    assert module.macs_band == (math.ceil(0.8 * (full // 2)), full // 2)
    assert cafenet(max_macs=full // 2, least_share=0.8).macs_band[1] == full // 2
    free = cafenet(max_macs=None)
    assert free.macs_band == free.space.reachable()
    assert not free.budgeted


# the result


def told(module, *errors):
    genotypes = module.space.sample(len(errors), torch.Generator().manual_seed(0))
    for k, (genotype, error) in enumerate(zip(genotypes, errors, strict=True)):
        module.candidates.append(Candidate(k, None, 1, error, module.space.macs(genotype), 10, 0.1, genotype))


def test_the_result_is_the_candidate_of_lowest_error():
    module = cafenet(max_macs=None)
    assert module.architecture() == BASE
    assert module.controls() == {}
    assert module.remark() == "no width was evaluated"
    told(module, 5.0, math.nan, 3.0)
    best = module.candidates[2]
    assert module.architecture() == module.space.config(best.architecture)
    assert module.remark().startswith("3 networks were evaluated; of the found one's 4 widths ")


def test_a_band_without_a_network_is_refused_before_any_training():
    """The search would find nothing to evaluate, after hours."""
    with pytest.raises(UserError, match=r"least_share=0.9999: no widths .* the nearest that were seen have"):
        cafenet(max_macs=0.5, least_share=0.9999, space=partial(BinSpace, bin_rule="uniform", bins_per_group=2))


def test_the_controls_have_the_budget_of_the_found_one():
    module = cafenet(max_macs=0.5, seed=3)
    told(module, 5.0)
    controls = {name: network_from(config) for name, config in module.controls().items()}
    assert set(controls) == {"uniform", "random"}
    full = module.space.graph
    for network in controls.values():
        widths = channel_graph(network, (1, 8, 8)).widths()
        assert widths.keys() == full.widths().keys()
        assert 0.4 * module.base_network["macs"] <= module.space.macs(widths) <= 0.5 * module.base_network["macs"]
    assert module.controls() == module.controls()  # the same on all ranks
    free = cafenet(max_macs=None, controls=["uniform"])
    told(free, 5.0)
    assert list(free.controls()) == ["uniform"]


# super-nets of other runs


def test_a_super_net_is_searched_again_without_training(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = cafenet()
    run_cafenet(first, tmp_path / "a")
    second = cafenet(supernet=str(tmp_path / "a"))
    trainer = run_cafenet(second, tmp_path / "b")
    assert trainer.global_step == 0
    state = second.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.network.state_dict().items())
    found = [[(c.architecture, c.error) for c in module.candidates] for module in (first, second)]
    assert found[0] == found[1]


def test_what_the_training_told_of_widths_goes_with_the_super_net(tmp_path):
    """The prior asks for it, in a search of a search too; in other bins it says nothing."""
    run_cafenet(cafenet(), tmp_path)
    for budget in (0.8, 0.7):
        again = cafenet(supernet=str(tmp_path), max_macs=budget)
        run_cafenet(again, tmp_path, prior=True)
        assert all(c.macs <= budget * again.base_network["macs"] for c in again.candidates)
    with pytest.raises(UserError, match=r"method.prior=true needs the losses of a super-net's training in the same"):
        run_cafenet(cafenet(supernet=str(tmp_path), space=BinSpace), tmp_path, prior=True)


def test_a_super_net_of_another_model_is_one_sentence(tmp_path):
    run_cafenet(cafenet(epochs=1), tmp_path)
    with pytest.raises(UserError, match="its super-net is of another model") as raised:
        run_cafenet(cafenet(supernet=str(tmp_path), base={**BASE, "channels": [8, 16]}), tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"there is no supernet.pt in it; give the folder of a CafeNet run"):
        run_cafenet(cafenet(supernet=str(tmp_path / "nowhere")), tmp_path)


# settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "method.epochs=-1"),
        ({"score_share": 1.5}, "method.score_share=1.5"),
        ({"score_share": 0.0}, "method.score_share=0"),
        ({"least_share": 2}, "method.least_share=2"),
        ({"calibration_images": 1}, "method.calibration_images=1"),
        ({"controls": ["uniforn"]}, "method.controls='uniforn' is not known; did you mean 'uniform'"),
        ({"controls": "uniform"}, "method.controls='uniform' is not allowed"),
        ({"max_macs": "half"}, "method.max_macs='half'"),
        ({"supernet": 3}, "method.supernet=3"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(UserError, match=message):
        cafenet(**options)


def test_its_config_builds_it():
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose("search", overrides=["method=cafenet", "method.max_macs=0.6", "hydra.run.dir=x"])
    module = build(config.method.module, "method", base=BASE, input_shape=(1, 8, 8), seed=1, **settings())
    assert isinstance(module, CafeNet)
    assert module.macs_band[1] <= 0.6 * module.base_network["macs"]
    assert "flops_bin_sampling" in config.method.callbacks
    assert FlopsBinSampling(k_train=config.method.k_train).k_train == 2
