"""Two stages in one fit: what each step may change, what each stage decides, and that the result meets its targets."""

import pytest
import pytorch_lightning as pl
import torch

from callbacks.architecture_steps import ArchitectureSteps
from callbacks.run_checkpoint import RunCheckpoint
from callbacks.space_proposal import SpaceProposal
from src.errors import UserError
from src.methods import operation_budget
from src.runtime.build import network_from
from src.runtime.ranks.agreement import fingerprint
from src.spaces.cost_table import CostTable
from tests.searching import digits, hournas, run_hournas


def with_made_up_latency(space, probe, device) -> CostTable:
    """A table in which 10,000 MACs take a millisecond."""
    costs = space.costs
    table = torch.cat([costs.table, 1e-4 * costs.table[:1]])
    return CostTable((*costs.names, "latency"), torch.cat([costs.fixed, torch.ones(1)]), table, costs.allowed)


def state(module) -> list:
    """Every bit of parameters and buffers of the super-net."""
    return [value.clone() for value in module.network.state_dict().values()]


def grads(module) -> list:
    """The gradient of each weight; an empty one where there is none."""
    return [torch.zeros(0) if p.grad is None else p.grad.clone() for p in module.network.parameters()]


def equal(first: list, second: list) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Watch(pl.Callback):
    """Looks at every step: what weight steps do to theta, what architecture steps do to the weights."""

    def __init__(self, monkeypatch) -> None:
        self.weights_moved, self.theta_moved, self.fixed, self.images = [], [], [], {"weights": set(), "theta": set()}
        step = ArchitectureSteps.step

        def watched(own, trainer, module, batch):
            weights, theta, gradients = state(module), module.theta.clone(), grads(module)
            assert torch.equal(self.theta, theta), "a weight step has changed theta"
            step(own, trainer, module, batch)
            assert equal(weights, state(module)), "an architecture step has changed a weight or a statistic"
            assert equal(gradients, grads(module)), "an architecture step has left a gradient at a weight"
            self.theta = module.theta.clone()
            self.theta_moved.append(not torch.equal(theta, module.theta))
            self._note("theta", batch)

        monkeypatch.setattr(ArchitectureSteps, "step", watched)

    def _note(self, part, batch):
        self.images[part] |= {tuple(image.flatten().tolist()) for image in batch[0]}

    def on_train_batch_start(self, trainer, module, batch, index):
        self.theta, self.before = module.theta.clone(), state(module)
        self._note("weights", batch)

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        assert torch.equal(self.theta, module.theta), "a weight step has changed theta"
        self.weights_moved.append(not equal(self.before, state(module)))
        self.fixed.append((module.stage_number, fingerprint(module.fixed, torch.nn.Identity())))


def test_steps_change_what_is_theirs_and_stage_two_no_vital_choice(monkeypatch):
    """Section 8.3, items 6 to 8: a leak between the two makes a search look better than it is."""
    module, watch = hournas(), Watch(monkeypatch)
    run_hournas(module, watch, start_epoch=0)
    assert all(watch.weights_moved)
    assert len(watch.theta_moved) > 2
    assert all(watch.theta_moved)
    assert not watch.images["weights"] & watch.images["theta"]
    in_second = {fixed for stage, fixed in watch.fixed if stage == 1}
    assert len(in_second) == 1
    assert sorted(module.fixed) == [0, 1, 3]
    assert [module.chosen[block] for block in module.fixed] == list(module.fixed.values())


def test_the_result_meets_the_targets_and_the_data_is_whole_again():
    module = hournas()
    run_hournas(module)
    assert bool(module.targets.met_by(torch.tensor(module.chosen), module.costs))
    network = network_from(module.architecture())
    costs = module.costs.of(torch.tensor(module.chosen)).tolist()
    assert sum(parameter.numel() for parameter in network.parameters()) == costs[1]
    assert len(digits().train_dataloader()) == len(module.trainer.datamodule.train_dataloader())
    stages = [candidate.architecture["operations"] for candidate in module.candidates]
    assert [names.count("skip") >= 3 for names in stages[:2]] == [True, True]  # vital blocks alone
    assert module.candidates[0].macs < module.candidates[-1].macs
    assert "vital" in module.remark()


def test_the_second_stage_begins_with_the_weights_of_the_first():
    class Handover(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            if module.current_epoch == 2:
                self.after = {name: value.clone() for name, value in module.network.state_dict().items()}

        def on_validation_start(self, trainer, module):
            if module.current_epoch == 1:
                self.before = module.network.extracted(module._path(module.current_choice())).state_dict()

    for inherit in (True, False):
        look, module = Handover(), hournas(inherit_weights=inherit)
        run_hournas(module, look)
        shared = [name for name in look.before if name.startswith(("stem", "blocks.1", "head"))]
        same = [
            torch.equal(look.before[name], look.after[name.replace("blocks.1.", "blocks.1.operations.0.")])
            for name in shared
            if look.before[name].ndim > 1
        ]
        assert len(same) > 3
        assert all(same) if inherit else not any(same)


def test_frozen_vital_weights_stay():
    module, seen = hournas(train_vital_weights=False), []

    class Look(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            seen.append([p.detach().clone() for block in (0, 1, 3) for p in module.network.blocks[block].parameters()])

    run_hournas(module, Look())
    final = [parameter for block in (0, 1, 3) for parameter in module.network.blocks[block].parameters()]
    assert equal(seen[2], final)


@pytest.mark.parametrize(
    ("options", "stages"),
    [({"priority": False}, 1), ({"sampler": "feasible"}, 1), ({"sampler": "proposal"}, 1), ({"pick": "error"}, 2)],
)
def test_controls_make_as_many_epochs_and_end_with_a_feasible_network(options, stages):
    module = hournas(pick_samples=3, **options)
    trainer = run_hournas(module)
    assert len(module.stages) == stages
    assert trainer.current_epoch == 4
    assert bool(module.targets.met_by(torch.tensor(module.chosen), module.costs))
    picked = "sampler" in options or "pick" in options
    final = [candidate for candidate in module.candidates if candidate.step == 3][1:]
    assert len(final) in ((2, 3, 4) if picked else (0,))  # of the tiny space few meet the targets
    if picked:
        errors = [candidate.error for candidate in final]
        best = final[errors.index(min(errors))].architecture
        assert best == module.space.genotype(module.chosen)


def test_random_samplers_train_on_all_images_and_on_feasible_paths():
    module, drawn = hournas(sampler="feasible"), []
    draw = module.drawn
    module.drawn = lambda index: drawn.append(draw(index)[1]) or draw(index)
    trainer = run_hournas(module)
    assert trainer.num_training_batches == len(digits().train_dataloader())
    assert bool(module.targets.met_by(torch.tensor(drawn), module.costs).all())
    assert len({tuple(path) for path in drawn}) > len(drawn) / 2


def test_a_resumed_search_ends_where_the_other_one_did(tmp_path):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if trainer.global_step == 14:  # in the second stage, between two architecture steps
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    whole = hournas()
    run_hournas(whole, Stop(), RunCheckpoint(str(tmp_path)))
    resumed = hournas()
    run_hournas(resumed, RunCheckpoint(str(tmp_path / "again")), checkpoint=str(tmp_path / "half.ckpt"))
    assert resumed.chosen == whole.chosen
    assert torch.equal(resumed.theta, whole.theta)
    assert equal(state(resumed), state(whole))
    assert [c.error for c in resumed.candidates] == [c.error for c in whole.candidates]


def test_the_expected_cost_pulls_without_any_proposal():
    """It is named as a way without proposals: with none it must not fall silent."""

    def theta_after(beta):
        module = hournas(distance="cost", beta=beta, priority=False, vital_epochs=1, other_epochs=1)
        module.callback = lambda kind: SpaceProposal(proposals=0)
        run_hournas(module, start_epoch=0)
        return module.theta

    assert not torch.equal(theta_after(0.0), theta_after(100.0))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"targets": {"macs": 0.01}}, "reach from"),
        ({"targets": {"flops": 1.0}}, "method.targets.flops"),
        ({"targets": {}}, "method.targets has no target"),
        ({"sampler": "greedy"}, "method.sampler='greedy'"),
        ({"vital_epochs": 0, "other_epochs": 0}, "nothing to search"),
        ({"controls": ["uniform"]}, "method.controls='uniform'"),
        ({"base": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}}, "mobile_digits"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, told):
    with pytest.raises(UserError, match=told):
        hournas(**options)


def test_latency_is_measured_once_and_kept(tmp_path, monkeypatch):
    """Measured again it would differ, and with it what a resumed run finds."""
    calls = []

    def measured(space, probe, device):
        calls.append(device)
        return with_made_up_latency(space, probe, device)

    class Save(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    monkeypatch.setattr(operation_budget, "with_latency", measured)
    options = {"targets": {"macs": None, "latency": 6.0}, "tolerance": 0.2}
    whole = hournas(**options)
    run_hournas(whole, Save())
    assert len(calls) == 1
    resumed = hournas(**options)
    run_hournas(resumed, checkpoint=str(tmp_path / "half.ckpt"))
    assert len(calls) == 1
    assert resumed.chosen == whole.chosen
    assert abs(whole.budget.misses(whole.chosen)["latency"]) <= 0.2


def test_proposals_for_all_blocks_aim_at_the_measured_latency_too(monkeypatch):
    """They are fitted when the fit begins, as it is measured."""
    monkeypatch.setattr(operation_budget, "with_latency", with_made_up_latency)
    module = hournas(targets={"latency": 6.0}, tolerance=0.2, priority=False, vital_epochs=1, other_epochs=1)
    trainer = run_hournas(module)
    proposing = next(callback for callback in trainer.callbacks if isinstance(callback, SpaceProposal))
    assert proposing.state_dict()["state"]["key"]["names"] == ["latency"]


def test_a_latency_out_of_reach_is_told_with_the_range():
    with pytest.raises(UserError, match=r"method.targets.latency=1,000 ms cannot be met.* ms"):
        run_hournas(hournas(targets={"latency": 1e3}))
