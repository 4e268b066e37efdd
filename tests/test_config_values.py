"""Every setting of both commands with values of the wrong kind: told in one sentence before anything is trained.

What is accepted all the same stands in `ACCEPTED`. A setting that is added, by a new method say, is tried by itself; if
one of the values is right for it, it gets its line there.
"""

import gc
import math
import warnings
from collections.abc import Iterator
from itertools import count

import pytest
import torch
from omegaconf import OmegaConf
from preparing import Trained, begin, changed, composed, leaves

from src.errors import UserError
from src.runtime.mistakes import sentence
from tests.cascading import stored

WORD, HUGE = "maybe", 10**12
VALUES = [WORD, -1, "", 0, 1.5, [1, 2], {"a": 1}, None, True, HUGE, math.nan]
QUICK = 2  # so many of them are tried in each run of the tests, the others in CI
SOME = 3  # so many are tried where others have been tried by another key or command
MANY = 5  # and so many elsewhere, by turns: the keys are many, and the ways to check them few

ACCEPTED = [
    ([0], "seed data.mean method.factor_min task.label_smoothing scheduler.warmup scheduler.final"),
    ([None], "architecture data.num_classes data.channels data.image_size data.augment method.init_width"),
    ([None], "scheduler._target_ trainer.precision trainer.threads logger.tags logger.mode weights"),
    ([None], "callbacks.candidate_history callbacks.pareto_report callbacks.architecture_export"),
    ([None], "callbacks.run_checkpoint callbacks.ranks_agree callbacks.variational_training"),
    ([0], "callbacks.variational_training.warmup callbacks.variational_training.ramp export.monte_carlo"),
    ([0], "callbacks.variational_training.finetune"),
    ([0, 1.5], "callbacks.variational_training.lr"),
    ([0, 1.5, HUGE], "callbacks.variational_training.gamma"),
    ([None], "callbacks.search_progress method.callbacks.channel_rescaling"),
    ([None, 0], "data.augment.crop data.augment.cutout"),
    ([None], "data.augment.randaugment data.augment.cutmix"),
    ([None, HUGE], "data.limit method.max_width trainer.limit_train_batches trainer.limit_val_batches"),
    ([None, HUGE], "trainer.limit_test_batches"),
    ([HUGE], "retrain.repeats data.eval_batch_size method.trials method.epochs_per_trial epochs"),
    ([HUGE], "trainer.accumulate_grad_batches method.callbacks.rank_measurement.every_n_epochs"),
    ([0, HUGE], "retrain.epochs data.seed method.patience"),
    ([True], "data.augment.flip method.stop_test_before_halving optimizer.nesterov trainer.compile"),
    ([True], "trainer.channels_last trainer.detect_anomaly logger.csv logger.tensorboard logger.wandb"),
    ([None, HUGE], "callbacks.run_checkpoint.every_n_steps"),
    ([WORD], "callbacks.run_checkpoint.folder"),
    ([WORD, None], "resume"),
    ([None, True], "trainer.deterministic"),
    ([[1, 2]], "model.blocks model.channels"),
    ([1.5], "callbacks.search_progress.refresh_per_second trainer.timeout_s"),
    ([1.5, HUGE], "method.mapping_condition"),
    ([0, 1.5, HUGE], "method.delta method.slope_eps optimizer.lr optimizer.weight_decay"),
    ([0, 1.5, HUGE], "callbacks.search_progress.plain_every_seconds"),
    ([0, 1.5, None, HUGE], "trainer.gradient_clip_val"),
    ([0, None, HUGE], "trainer.log_every_n_steps"),
    ([-1, 0, None, HUGE], "trainer.num_sanity_val_steps"),
    ([WORD], "data.name method.name"),
    ([WORD], "callbacks.candidate_history.folder callbacks.pareto_report.folder callbacks.architecture_export.folder"),
    ([WORD, None], "logger.project logger.entity logger.group"),
]
RIGHT = {key: values for values, keys in ACCEPTED for key in keys.split()}
# The same setting a second time: the node reads it from the key that the user is meant to set.
COPIES = {
    "retrain.callbacks.": "callbacks.",
    "method.module.": "method.",
    "method.callbacks.channel_rescaling.": "method.",
}


def accepted(key: str) -> list:
    for copy, origin in COPIES.items():
        if key.startswith(copy) and key not in RIGHT:
            key = origin + key.removeprefix(copy)
    return RIGHT.get(key, [])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Values may name folders, and set what belongs to the process."""
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def frozen():
    """Every run leaves cycles of modules: what is loaded already need not be gone through each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def outcome(script, config, folder, searched: bool = False) -> str | None:
    """What the user is told; None where a training begins."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begin(script, config, folder, searched)
    except Trained:
        return None
    except Exception as error:
        told = sentence(error)
        if told is None:
            raise
        return told
    raise AssertionError("the run has ended without a training")


def filled(config, key: str) -> bool:
    """Whether the value of a key is that of another one unless it is given."""
    parent, _, name = key.rpartition(".")
    return OmegaConf.is_interpolation(OmegaConf.select(config, parent) if parent else config, name)


def in_turn(values: list, turns: Iterator[int], most: int = SOME) -> list:
    """Some of the values, so that each comes up as often as the others."""
    return [values[next(turns) % len(values)] for _ in range(min(most, len(values)))]


def try_all(script: str, values: list, folder) -> None:
    """Tries values at every key of the composed config, by turns.

    Of a key that another one fills, and of one that train.py shares with search.py, fewer: the value goes the way that
    others went there.
    """
    config, turns = composed(script), count()
    known = set(leaves(composed("search"))) if script == "train" else set()
    assert outcome(script, config, folder) is None
    wrong = []
    for key in leaves(config):
        for value in in_turn(values, turns, SOME if key in known or filled(config, key) else MANY):
            case = changed(config, key, value)
            told = outcome(script, case, folder)
            if told is None and script == "search" and (key, value) != ("retrain.epochs", 0):
                assert outcome(script, case, folder, searched=True) is None, f"{key}={value!r} is refused too late"
            right = any(type(value) is type(choice) and value == choice for choice in accepted(key))
            if (told is None) != right:
                wrong.append((key, value, told))
            assert told is None or "\n" not in told
    assert not wrong, f"refused though ACCEPTED has it, or begun though it has not: {wrong}"


@pytest.mark.usefixtures("frozen")
def test_a_word_and_a_negative_number(tmp_path):
    try_all("search", VALUES[:QUICK], tmp_path)


OTHER_METHODS = {
    "random": [
        ([0, None], "min_macs"),
        ([None, 1.5, HUGE], "max_macs"),
        ([HUGE], "epochs_per_trial"),
        ([True], "include_base"),
        ([None], "max_width"),
    ],
    "cafenet": [
        ([None, 1.5, HUGE], "max_macs"),
        ([0], "least_share min_share offset_r exploration crossover resample"),
        ([None], "supernet share total_bins objectives population"),
        ([0, HUGE], "warmup_epochs"),
        ([0, None], "mutation"),
        ([None, HUGE], "parents"),
        ([HUGE], "epochs max_bin bins_per_group evaluations calibration_images latency_repeats"),
        ([1.5], "supernet_width"),
        ([True], "sandwich short_last_bin search_squeeze prior"),
    ],
    "vinnas": [
        ([None], "space.operations space.nodes cells.channels cells.layers cells.reductions structure.normalise"),
        ([0, 1.5, None], "structure.init_theta"),
        ([-1, 0, 1.5], "structure.init_log_sigma2 structure.threshold weights.init_log_sigma2 weights.threshold"),
        ([0], "structure.warmup structure.ramp structure.drop_from weights.warmup weights.ramp"),
        ([None], "structure.drop_from arch.every"),
        ([0, 1.5], "structure.gamma structure.entropy_weight structure.lr_theta structure.lr_log_sigma2"),
        ([0, 1.5], "weights.gamma weights.lr"),
        ([HUGE], "weights.gamma"),
        ([0, 1.5, None], "weights.adam_lr"),
        ([-1, 0, 1.5], "retrain.init_log_sigma2 retrain.threshold"),
        ([True], "weights.variational weights.stem retrain.variational retrain.stem cells.normalise_outputs"),
        ([True], "structure.warmup_free"),
        ([HUGE], "structure.patience epochs arch.every"),
    ],
    "darts": [
        ([None], "space.operations space.nodes cells.channels cells.layers cells.reductions arch.every"),
        ([0, 1.5], "arch.lr arch.weight_decay arch.init"),
        ([0, 1.5, None], "weights.adam_lr"),
        ([-1, 0, 1.5], "retrain.init_log_sigma2 retrain.threshold"),
        ([True], "retrain.variational retrain.stem cells.normalise_outputs"),
        ([0], "arch.start_epoch"),
        ([HUGE], "epochs"),
    ],
    "encas": [
        ([None], "split thin reference"),
        ([None, 1.5, HUGE], "max_macs"),
        ([0, 1.5], "thin"),
        ([0], "mutation elite"),
        ([1.5], "memory_gb"),
        ([True], "ensemble"),
        ([HUGE], "evaluations latency_repeats"),
        ([[1, 2]], "reference"),
    ],
    "nat": [
        ([None], "max_macs pretrained supernet reference"),
        ([HUGE, 1.5], "max_macs"),
        ([0], "warmup_epochs warmup_largest warmup_smallest epochs swa_iterations crossover mutation"),
        ([0], "mutation_eta survivors iteration_lr"),
        ([1.5, HUGE], "mutation_eta"),
        ([1.5], "iteration_lr"),
        ([True], "from_scratch with_archive"),
        ([HUGE], "warmup_epochs epochs swa_iterations surrogate_members surrogate_evaluations population"),
        ([HUGE], "calibration_images"),
        ([[1, 2]], "reference"),
    ],
    "encas_joint": [
        ([None], "reference"),
        ([0], "warmup_epochs warmup_largest warmup_smallest epochs swa_iterations survivors mutation elite"),
        ([0, 1.5], "iteration_lr"),
        ([True], "with_archive start_with_archive surrogate_subsets"),
        ([HUGE], "warmup_epochs epochs swa_iterations surrogate_members surrogate_evaluations"),
        ([HUGE], "calibration_images"),
        ([[1, 2]], "reference supernets.b.space.stems supernets.b.space.lasts"),
        ([1.5, [1, 2], None], "supernets.a.widths supernets.b.widths"),
        ([0], "supernets.a.dropout supernets.b.dropout"),
    ],
    "hournas": [
        ([0], "tolerance stage1.epochs stage2.epochs stage2.beta arch.lr arch.weight_decay arch.start_epoch"),
        ([0], "proposal.proposals proposal.entropy proposal.least_hits"),
        ([None], "targets.macs targets.params targets.latency space.operations arch.every"),
        ([1.5], "stage2.beta gumbel.tau_start gumbel.tau_end arch.lr arch.weight_decay"),
        ([1.5], "proposal.lr proposal.tau_start proposal.tau_end proposal.entropy"),
        ([True], "priority space.skip stage1.hard stage2.hard stage2.inherit_weights stage2.train_vital_weights"),
        ([True], "arch.batch_statistics"),
        ([HUGE], "latency_repeats calibration_images stage1.epochs stage2.epochs proposal.steps"),
    ],
}


def needs(method: str, folder) -> list[str]:
    """What a method needs that has no default, and a model that it can search."""
    if method == "encas":
        return [f"method.members={stored(folder)}"]
    small = ("model=mobile_digits", "model.stem=[4,1]", "model.stages=[[4,2,2]]", "model.head=4")
    cells = ("model=darts_digits", "model.channels=2", "method.space.nodes=1", "method.cells.layers=2")
    cells = (*cells, "method.space.operations=[skip_connect,max_pool_3x3]")
    known = {
        "nat": ["model=elastic_tiny"],
        "hournas": [*small, "method.proposal.steps=2"],
        "vinnas": cells,
        "darts": cells,
    }
    return list(known.get(method, []))


@pytest.mark.slow
@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_values_of_every_kind_for_the_other_methods(method, tmp_path):
    """Of the keys that the user is meant to set; those of module and callbacks are filled from them.

    Of a key within a node of the method some: the nodes are many, and the kinds of their keys few.
    """
    right = {}
    for values, keys in OTHER_METHODS[method]:
        for key in keys.split():
            right[key] = [*right.get(key, []), *values]
    right["name"] = [WORD]
    config, wrong = composed("search", f"method={method}", *needs(method, tmp_path / "pool")), []
    assert outcome("search", config, tmp_path) is None
    keys = [key.removeprefix("method.") for key in leaves(config) if key.startswith("method.")]
    own = [key for key in keys if key.partition(".")[0] not in ("module", "callbacks")]
    turns = count()
    for key in own:
        for value in in_turn(VALUES, turns, SOME if "." in key else MANY):
            told = outcome("search", changed(config, f"method.{key}", value), tmp_path)
            fits = any(type(value) is type(choice) and value == choice for choice in right.get(key, []))
            named = told is None or "." not in key or f"method.{key.partition('.')[0]}" in told
            if (told is None) != fits or not named:
                wrong.append((key, value, told))
    assert not wrong, f"refused though it is right, or begun though it is not: {wrong}"


@pytest.mark.slow
@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(("script", "values"), [("search", VALUES[QUICK:]), ("train", VALUES)])
def test_values_of_every_kind(script, values, tmp_path):
    try_all(script, values, tmp_path)


@pytest.mark.parametrize(
    ("choice", "key", "value", "told"),
    [
        ("optimizer=adamw", "optimizer.lr", -1, "optimizer: torch.optim.AdamW refuses its settings (ValueError"),
        ("optimizer=adamw", "optimizer.lr", "fast", "optimizer.lr='fast' is not allowed; it must be a number"),
        ("optimizer=sgd", "optimizer.momentum", 2, "optimizer.momentum=2 is not allowed"),
        ("optimizer=sgd", "optimizer.momentum", 0, "Nesterov momentum requires a momentum"),
        ("optimizer=sgd", "optimizer.nesterov", "no", "optimizer.nesterov='no' is not allowed; it must be true"),
        ("optimizer=sgd", "optimizer._target_", None, "optimizer has no _target_"),
        ("scheduler=cosine", "scheduler.warmup", 2, "scheduler.warmup=2 is not allowed"),
        ("scheduler=step", "scheduler.step_size", 0, "scheduler.step_size=0 is not allowed"),
        ("scheduler=step", "scheduler.step_size", -5, "scheduler.step_size=-5 is not allowed"),
        ("scheduler=step", "scheduler.gamma", -1, "scheduler.gamma=-1 is not allowed"),
        ("scheduler=cosine", "retrain.optimizer", {"_target_": "torch.optim.SGD", "lr": -1}, "retrain.optimizer: "),
        ("scheduler=cosine", "retrain.scheduler", {"_target_": "torch.optim.SGD"}, "TypeError"),
        ("trainer=cpu", "trainer.gradient_clip_val", "abc", "trainer.gradient_clip_val='abc' is not allowed"),
        ("trainer=cpu", "trainer.log_every_n_steps", -1, "trainer.log_every_n_steps=-1 is not allowed"),
        ("trainer=cpu", "trainer.limit_val_batches", 0, "trainer.limit_val_batches=0 is not allowed"),
        ("trainer=cpu", "trainer.accumulate_grad_batches", 0.5, "trainer.accumulate_grad_batches=0.5 is not allowed"),
        ("trainer=cpu", "trainer.max_epochs", 3, "trainer.max_epochs cannot be set here: give epochs"),
        ("trainer=cpu", "trainer.check_val_every_n_epoch", 50, "trainer.check_val_every_n_epoch cannot be set here"),
        ("trainer=cpu", "trainer.limit_test_batches", 0.01, "trainer.limit_test_batches=0.01 is not allowed"),
        ("task=multilabel", "task.pos_weight", -1, "task.pos_weight=-1 is not allowed"),
        ("task=multilabel", "task.label_smoothing", "some", "task.label_smoothing='some' is not allowed"),
        ("task=multilabel", "task.num_classes", 10, "data digits has one class an image: give task=classification"),
        ("trainer=cpu", "data.std", 255, "of images scaled to [0, 1]"),
        ("trainer=cpu", "method.callbacks", [1], "method.callbacks=[1] is not allowed; it must be a node of settings"),
        ("trainer=cpu", "export.formats", "pt2", "export.formats='pt2' is not allowed; it must be a list"),
        ("trainer=cpu", "export.monte_carlo_noise", "locally", "export.monte_carlo_noise='locally' is not known"),
        ("trainer=cpu", "export.monte_carlo", 2, "export.monte_carlo=2 needs a network with variational weights: wrap"),
    ],
)
def test_what_would_have_been_noticed_in_the_training(choice, key, value, told, tmp_path):
    assert told in outcome("search", changed(composed("search", choice), key, value), tmp_path)


def test_draws_of_what_a_search_of_cells_will_find(tmp_path):
    """Without variational weights in the final training they would be missing after hours of search."""
    config = composed("search", "method=vinnas", *needs("vinnas", tmp_path), "export.monte_carlo=2")
    assert outcome("search", config, tmp_path) is None
    told = outcome("search", changed(config, "method.retrain.variational", False), tmp_path)
    assert "give method.retrain.variational=true, or export.monte_carlo=0" in told


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ("nat", ["model=resnet20"], "only, such as model=elastic_tiny, elastic_small"),
        ("nat", ["model=elastic_tiny", "method.max_macs=1000"], "those that it has reach from 84,576 to 670,016 MACs"),
        (
            "nat",
            ["model=elastic_tiny", "method.epochs=0", "method.warmup_epochs=0"],
            "train nothing: give one of them, or",
        ),
        ("nat", ["model=elastic_tiny", "method.pretrained=/none.pt"], "method.pretrained=/none.pt: "),
        ("nat", ["model=elastic_tiny", "method.supernet=/none"], "method.supernet=/none: it is no run folder"),
        (
            "encas_joint",
            ["method.supernets.b=null"],
            "method.supernets.b=None is not allowed; it must be a model config",
        ),
        ("encas_joint", ["model@method.supernets.a=resnet20"], "method.supernets.a: subnets are searched in a"),
        ("encas_joint", ["task=multilabel"], "data digits has one class an image: give task=classification"),
        ("encas_joint", ["method.epochs=0", "method.warmup_epochs=0"], "train nothing: give one of them"),
    ],
)
def test_super_nets_that_cannot_evolve(method, more, told, tmp_path):
    """What is wrong with them would be noticed after their training, or never."""
    assert told in outcome("search", composed("search", f"method={method}", *more), tmp_path)


def test_a_mistake_is_a_user_error_and_no_other(tmp_path):
    """The sentences above are our own words, not those of a library that `sentence` knows."""
    with pytest.raises(UserError):
        begin("search", changed(composed("search"), "optimizer.lr", "fast"), tmp_path)
