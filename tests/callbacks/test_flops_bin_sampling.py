"""When widths and index sets are drawn, and what is kept of the steps, with a module that trains nothing."""

import pytest
import pytorch_lightning as pl
import torch

from callbacks.flops_bin_sampling import FlopsBinSampling
from src.errors import UserError
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace
from tests.searching import BASE, conet, run

STEPS = 30  # an epoch


@pytest.fixture(scope="module")
def space() -> BinSpace:
    return BinSpace(BASE, (1, 8, 8), bin_rule="uniform", bins_per_group=4)


class Stub(pl.LightningModule):
    """Scores paths by what they keep; notes all that it was given."""

    def __init__(self, space: BinSpace, seed: int = 0, search_from: int = 10**9) -> None:
        super().__init__()
        self.space, self.seed, self.search_from = space, seed, search_from
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.paths, self.more_paths, self.row = [], [], None
        self.seen: list[tuple] = []

    def searching(self) -> bool:
        return self.current_epoch >= self.search_from

    def training_step(self, batch, index):
        kept = [sum(sum(chosen.indices) for chosen in path.values()) for path in self.paths]
        self.path_loss = torch.tensor([1.0 + (total * 7919 % 101) / 100 for total in kept])
        self.winner = int(self.path_loss.argmin())
        best = float(self.path_loss[self.winner])
        self.seen.append(
            (self.global_step, self.row.clone(), list(self.paths), list(self.more_paths), best, self.winner)
        )
        return self.weight * best

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(stub: Stub, callback: FlopsBinSampling, *more: pl.Callback, epochs: int = 2, checkpoint=None) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback, *more],
    )  # fmt: skip
    trainer.fit(stub, torch.utils.data.DataLoader(torch.zeros(STEPS, 1)), ckpt_path=checkpoint, weights_only=True)
    return trainer


def test_each_step_has_a_width_and_different_index_sets_of_it(space):
    stub = Stub(space)
    fit(stub, FlopsBinSampling(k_train=3))
    assert len(stub.seen) == 2 * STEPS
    assert len({tuple(row.tolist()) for _, row, *_ in stub.seen}) > STEPS
    for _, row, paths, more_paths, *_ in stub.seen:
        widths = space.genotype(row)
        assert all({name: len(kept) for name, kept in path.items()} == widths for path in paths)
        assert len({tuple(kept.indices for kept in path.values()) for path in paths}) == len(paths)
        assert more_paths == []
    assert sum(len(paths) == 3 for _, _, paths, *_ in stub.seen) > STEPS


def test_draws_are_keyed_by_seed_and_step_and_widths_by_nothing_else(space):
    """On every rank and after a resume the same; and r = 0 is compared with r = 1 on the same widths."""
    first, second, other, fixed = Stub(space), Stub(space), Stub(space, seed=1), Stub(space)
    fit(first, FlopsBinSampling())
    torch.rand(5)
    fit(second, FlopsBinSampling())
    fit(other, FlopsBinSampling())
    fit(fixed, FlopsBinSampling(offset_r=0, k_train=1, exploration=0.5))
    rows = [[step[1].tolist() for step in stub.seen] for stub in (first, second, other, fixed)]
    assert rows[0] == rows[1] == rows[3] != rows[2]
    assert [step[2] for step in first.seen] == [step[2] for step in second.seen]
    step, row, *_ = first.seen[7]
    assert torch.equal(row, space.grid.uniform(1, keyed_generator(0, "width", step))[0])


def test_warm_up_and_exploration_have_one_candidate(space):
    """Else an index set that has won early would be the only one that is ever trained."""
    stub = Stub(space)
    fit(stub, FlopsBinSampling(warmup_epochs=1), epochs=2)
    assert all(len(paths) == 1 for _, _, paths, *_ in stub.seen[:STEPS])
    assert sum(len(paths) == 2 for _, _, paths, *_ in stub.seen[STEPS:]) > STEPS // 2
    stub = Stub(space)
    fit(stub, FlopsBinSampling(exploration=0.5), epochs=10)
    assert 0.4 < sum(len(paths) == 1 for _, _, paths, *_ in stub.seen) / len(stub.seen) < 0.6


def test_without_an_offset_there_is_nothing_to_choose(space):
    stub = Stub(space)
    callback = FlopsBinSampling(offset_r=0, k_train=4)
    trainer = fit(stub, callback)
    assert all(len(paths) == 1 and all(s.is_prefix for s in paths[0].values()) for _, _, paths, *_ in stub.seen)
    assert "winner_evenness" not in trainer.callback_metrics
    assert [heading for heading, *_ in callback.report_figures()] == ["Bins"]


def test_the_sandwich_is_the_widest_path_and_a_narrowest(space):
    stub = Stub(space)
    fit(stub, FlopsBinSampling(sandwich=True), epochs=1)
    for _, _, _, (widest, narrowest), *_ in stub.seen:
        assert all(kept.is_full for kept in widest.values())
        assert {name: len(kept) for name, kept in narrowest.items()} == space.genotype(space.low)


def test_losses_are_kept_by_group_and_width(space):
    """What a prior is made of: the loss of the path that was trained."""
    stub, callback = Stub(space), FlopsBinSampling()
    fit(stub, callback)
    means, steps = callback.mean_losses()
    for g, width in ((0, 1), (2, 3)):
        own = [best for _, row, _, _, best, _ in stub.seen if int(row[g]) == width]
        assert int(steps[g, width - 1]) == len(own)
        assert float(means[g, width - 1]) == pytest.approx(sum(own) / len(own))
    assert steps.sum(1).tolist() == [2 * STEPS] * len(space.names)


def test_how_evenly_index_sets_win_is_logged(space):
    """The place among the candidates of a step says nothing: they are drawn in a random order."""
    callback = FlopsBinSampling()
    trainer = fit(Stub(space), callback, epochs=12)
    evenness = callback.statistics.evenness()
    expected = float(evenness[evenness.isfinite()].mean())
    assert float(trainer.callback_metrics["winner_evenness"]) == pytest.approx(expected, abs=1e-6)


def test_it_rests_while_the_module_searches(space):
    stub, callback = Stub(space, search_from=1), FlopsBinSampling()
    stub_rows = []

    class Rows(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, index):
            stub_rows.append(pl_module.row)

    fit(stub, callback, Rows(), epochs=2)
    assert all(row is stub_rows[STEPS - 1] for row in stub_rows[STEPS:])
    assert int(callback.statistics.steps[0].sum()) == STEPS


def test_a_checkpoint_within_an_epoch_loses_nothing(space, tmp_path):
    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
            if trainer.global_step == STEPS + 10:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    whole, callback = Stub(space), FlopsBinSampling()
    trainer = fit(whole, callback, Save())
    resumed, other = Stub(space), FlopsBinSampling()
    again = fit(resumed, other, checkpoint=tmp_path / "middle.ckpt")
    state, came_back = callback.statistics.state_dict(), other.statistics.state_dict()
    assert all(torch.equal(state[name], came_back[name]) for name in state)
    assert trainer.callback_metrics.keys() == again.callback_metrics.keys()
    assert [step[1].tolist() for step in resumed.seen] == [step[1].tolist() for step in whole.seen[STEPS + 10 :]]


def test_its_state_may_come_before_the_space(space):
    callback, other = FlopsBinSampling(), FlopsBinSampling()
    fit(Stub(space), callback, epochs=1)
    other.load_state_dict(callback.state_dict())
    fit(Stub(space), other, epochs=1)
    assert torch.equal(other.statistics.steps, 2 * callback.statistics.steps)


def test_the_report_tells_of_bins_and_winners(space):
    callback = FlopsBinSampling()
    assert callback.report_figures() == []
    fit(Stub(space), callback, epochs=12)
    (_, _, bins), (heading, _, winners) = callback.report_figures()
    assert list(bins.data[0].y) == [len(own) for own in space.edges.values()]
    assert heading == "Winner entropy"
    assert set(winners.data[0].x) == set(space.names)
    assert all(0 <= value <= 1 for value in winners.data[0].y)


def test_it_says_which_method_it_needs():
    with pytest.raises(UserError, match="FlopsBinSampling needs method=cafenet, not CONet"):
        run(conet(), FlopsBinSampling())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset_r": 29}, "method.offset_r=29"),
        ({"k_train": 0}, "method.k_train=0"),
        ({"zone_border": "cut"}, "method.zone_border='cut'"),
        ({"zone_unit": "layer"}, "method.zone_unit='layer'"),
        ({"warmup_epochs": -1}, "method.warmup_epochs=-1"),
        ({"exploration": 1.5}, "method.exploration=1.5"),
        ({"sandwich": "yes"}, "method.sandwich='yes'"),
    ],
)
def test_its_arguments_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        FlopsBinSampling(**options)


def test_its_repr_rebuilds_it():
    callback = FlopsBinSampling(offset_r=2, exploration=0.25, zone_unit="channel")
    assert repr(eval(repr(callback))) == repr(callback)
