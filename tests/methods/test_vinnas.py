"""A search over cells whose operations drown in noise: what it drops and leaves, and that a resume changes nothing."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError
from src.runtime.build import network_from
from src.spaces.cell_space import CellSpace
from tests.searching import CELLS, darts, digits, run_cells, vinnas


class Watch(pl.Callback):
    """The gates and the live operations after each epoch, and the images that each part has seen."""

    def __init__(self) -> None:
        self.theta, self.left, self.kinds = [], [], set()

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        self.theta.append(module.gates.theta.detach().clone())

    def on_train_epoch_end(self, trainer, module):
        self.left.append(int(module.gates.live.sum()))


@pytest.mark.parametrize("mode", ["joint", "bilevel"])
def test_gates_rest_in_the_warm_up_then_learn_and_operations_go_for_good(mode):
    module, watch = vinnas(mode=mode), Watch()
    run_cells(module, watch)
    steps = len(watch.theta) // 4
    assert torch.equal(watch.theta[0], watch.theta[steps - 1])  # a quarter of the epochs is warm-up
    assert not torch.equal(watch.theta[steps - 1], watch.theta[-1])
    assert watch.left == sorted(watch.left, reverse=True)
    assert watch.left[0] == 30
    assert watch.left[-1] < 30
    nodes = torch.tensor([node for node, _ in module.space.edges])
    assert all(bool(module.gates.live[:, nodes == node].flatten(1).any(1).all()) for node in range(2))
    assert [candidate.extra["operations_left"] for candidate in module.candidates] == watch.left


@pytest.mark.parametrize("free", [True, False])
def test_shortcuts_and_pools_wait_until_weights_have_learnt(free):
    """They are of use before any weight is, and a short search that begins with them ends with them."""

    class Running(pl.Callback):
        def __init__(self):
            self.operations = []

        def on_train_batch_start(self, trainer, module, batch, index):
            edges = [edge for cell in module.network.live for node in cell for edge in node]
            self.operations.append({module.space.operations[operation] for edge in edges for operation, _ in edge})

    module, running = vinnas(epochs=2, warmup_free=free), Running()
    run_cells(module, running, warmup=0.5, drop_from=1.0)
    every = {"max_pool_3x3", "skip_connect", "sep_conv_3x3"}
    assert running.operations[0] == (every if free else {"sep_conv_3x3"})
    assert running.operations[-1] == every


def test_what_is_found_is_a_model_config_of_its_genotype_with_variational_weights():
    module = vinnas(retrain_variational=True, controls=["random", "dense"])
    run_cells(module)
    live = module.gates.live
    found = {(kind, node, state, name) for kind in ("normal", "reduce")
             for node, inputs in enumerate(module.genotype[kind]) for name, state in inputs}  # fmt: skip
    places = {edge: number for number, edge in enumerate(module.space.edges)}
    for kind, node, state, name in found:
        assert live[("normal", "reduce").index(kind), places[node, state], module.space.operations.index(name)]
    rows = {"found": module.architecture(), **module.controls()}
    targets = {name: config["_target_"].rpartition(".")[2] for name, config in rows.items()}
    assert targets == {"found": "variational", "random": "variational", "found-dense": "CellNetwork"}
    assert rows["found"]["model"]["genotype"] == rows["found-dense"]["genotype"] == module.genotype
    for config in rows.values():
        assert network_from(config)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    # a search goes on from what was found, and does not wrap it a second time
    again = vinnas(base=module.architecture(), retrain_variational=True)
    again.genotype = module.genotype
    assert again.architecture() == module.architecture()


@pytest.mark.parametrize(
    "options",
    [
        {"noise": "scalar", "variational": True},
        {"noise": "lrt", "rule": "ard"},
        {"normalise": "softmax", "rank": "mean_abs", "entropy_weight": 0.1, "kl": "sparse_vd"},
        {"mode": "bilevel", "normalise_outputs": True, "rank": "snr_plus"},
    ],
)
def test_each_kind_of_noise_and_each_mode_learns(options):
    module, watch = vinnas(epochs=2, **options), Watch()
    run_cells(module, watch, warmup=0, ramp=0.5)
    assert not torch.equal(watch.theta[0], watch.theta[-1])
    assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
    assert module.genotype is not None


def test_bilevel_gates_see_other_images_than_the_weights_and_the_data_is_whole_again():
    module, whole = darts(), len(digits().train_dataloader())
    before = module.alpha.clone()
    weights, structure = set(), set()

    class Images(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            weights.update(tuple(image.flatten().tolist()) for image in batch[0])

    loss = module.architecture_loss

    def noted(batch, *tensors, step):
        structure.update(tuple(image.flatten().tolist()) for image in batch[0])
        return loss(batch, *tensors, step=step)

    module.architecture_loss = noted
    run_cells(module, Images())
    assert structure
    assert not weights & structure
    assert not torch.equal(before, module.alpha)
    assert len(module.trainer.datamodule.train_dataloader()) == whole
    assert all(name != "none" for node in module.genotype["normal"] for name, _ in node)


class Stop(pl.Callback):
    """Ends the search at a batch; the state of the step before has been saved."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_train_batch_start(self, trainer, module, batch, index):
        if (trainer.current_epoch, index) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (partial(vinnas, variational=True), (3, 0)),
        (partial(vinnas, variational=True), (2, 3)),  # within an epoch, with noise in gates and weights
        (partial(vinnas, mode="bilevel"), (2, 2)),
        (darts, (1, 1)),
    ],
)
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(make, at, tmp_path):
    whole = make()
    run_cells(whole)
    with pytest.raises(BaseException):  # noqa: B017, PT011
        run_cells(make(), RunCheckpoint(str(tmp_path), every_n_steps=1), Stop(*at))
    resumed = make()
    run_cells(resumed, checkpoint=str(tmp_path / "last.ckpt"))
    assert resumed.genotype == whole.genotype
    assert [c.error for c in resumed.candidates] == [c.error for c in whole.candidates]
    other = resumed.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other[name]), name
    assert resumed.network.live == whole.network.live  # else what was dropped would run again


def test_the_penalty_raises_noise_and_the_entropy_term_drives_to_one_operation():
    """With a wrong sign a search would run all the same, and keep everything."""
    module = vinnas(entropy_weight=0.5)
    module.gamma = 0.1
    theta = torch.rand(module.gates.theta.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    log_sigma2 = torch.full_like(theta, -2.0).requires_grad_()
    noise = torch.autograd.grad(module.structure_penalty(theta, log_sigma2), log_sigma2)[0]
    assert bool((noise < 0).all())  # a step against it makes sigma larger
    module.gamma = 0.0
    slope = torch.autograd.grad(module.structure_penalty(theta, log_sigma2), theta)[0]
    largest = theta.argmax(dim=2, keepdim=True)
    assert bool((slope.gather(2, largest) < 0).all())  # and the largest theta of an edge too


@pytest.mark.parametrize(("warmup", "ramp", "told"), [(0.8, 0.7, "more than 1 in all"), (1.0, 0.0, "leaves none of")])
def test_a_schedule_that_leaves_nothing_to_the_gates_is_refused(warmup, ramp, told):
    with pytest.raises(UserError, match=told):
        run_cells(vinnas(epochs=2), warmup=warmup, ramp=ramp)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"noise": "image"}, "method.structure.noise='image'"),
        ({"normalise": "sum"}, "method.structure.normalise='sum'"),
        ({"normalise": "softmax", "noise": "lrt"}, "method.structure.normalise=softmax needs"),
        ({"rank": "srn"}, "did you mean 'snr'"),
        ({"mode": "jont"}, "did you mean 'joint'"),
        ({"rule": "top3"}, "did you mean 'top2'"),
        ({"controls": ["rndom"]}, "did you mean 'random'"),
        ({"init_theta": "x"}, "method.structure.init_theta='x'"),
        ({"base": {"_target_": "src.networks.resnet.resnet20"}}, "cells"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_choice(options, told):
    with pytest.raises(UserError) as error:
        vinnas(**options)
    assert told in str(error.value)


def test_a_space_of_other_nodes_than_the_model_has():
    module = vinnas(space=partial(CellSpace, operations=["skip_connect", "sep_conv_3x3"], nodes=1), base=CELLS)
    assert module.gates.live.shape == (2, 2, 2)
