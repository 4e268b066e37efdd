import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from scipy.stats import kendalltau

from src.methods.final_training import Recipe
from src.runtime.schedules import cosine
from src.runtime.trainer import make_trainer
from src.spaces.widths import resized_config
from src.tasks.classification import Classification
from tests.ground_truth.make import GROUPS, full_widths
from tests.ground_truth.table import CENTRES, GroundTruth, ground_truth
from tests.ground_truth.training import BASE, INPUT_SHAPE, digits_data, trained_errors

TABLE = ground_truth()


def small_table() -> GroundTruth:
    """Four networks of one group with errors that can be worked out by hand; two seeds."""
    test = torch.tensor([[8.0, 6.0], [5.0, 5.0], [4.0, 2.0], [1.0, 5.0]], dtype=torch.float64)
    macs = torch.tensor([10, 50, 54, 100])
    return GroundTruth(torch.tensor([[1], [2], [3], [4]]), macs, macs, test, test)


def test_it_holds_all_networks_with_their_own_macs():
    _, costs = full_widths()
    widths = TABLE.rows * costs.vector([full_widths()[0]])[0] / 4
    assert TABLE.rows.shape == (256, len(GROUPS))
    assert TABLE.test.shape == (256, 3)
    assert torch.equal(TABLE.macs, costs.macs(widths))
    assert torch.equal(TABLE.params, costs.params(widths))
    assert torch.equal(TABLE.grid().cost(TABLE.rows), TABLE.macs)


def test_the_networks_differ_by_more_than_their_seeds():
    """Otherwise the table would measure searches against noise."""
    noise = float((TABLE.test.var(1) / 3).mean())
    assert float(TABLE.truth.var()) > 10 * noise


def test_a_line_of_the_table_can_be_made_again():
    """One of the cheapest trainings, to within the images that another machine's rounding may turn."""
    row = (1, 1, 1, 1)
    widths = {name: width // 4 for name, width in full_widths()[0].items()}
    errors = trained_errors(widths, digits_data(), seed=0)
    assert errors.test == pytest.approx(float(TABLE.test[TABLE.index(row), 0]), abs=3)
    assert errors.val == pytest.approx(float(TABLE.val[TABLE.index(row), 0]), abs=3)


def test_regret_is_the_distance_to_the_best_that_fits():
    table = small_table()
    assert table.regret((2,), budget=60) == 2.0  # mean errors 7, 5, 3, 3
    assert table.regret((3,), budget=60) == 0.0
    assert table.regret((1,), budget=10) == 0.0
    with pytest.raises(ValueError, match="above the budget"):
        table.regret((4,), budget=60)
    with pytest.raises(KeyError):
        table.index((5,))


def test_tau_is_taken_within_bands():
    """About 50 % there are two networks, which MACs alone put in order; a band without two has no tau."""
    table = small_table()
    whole, banded = table.macs_alone(half_width=0.05)
    assert banded[0.5] == 1.0
    assert whole == pytest.approx(kendalltau([4, 3, 2, 1], [7, 5, 3, 3]).statistic)
    assert math.isnan(banded[0.25])
    assert table.banded_kendall_tau(torch.tensor([0.0, 1.0, 2.0, 3.0]))[0.5] == -1.0


def test_the_ceiling_is_one_seed_against_the_others():
    first, second = (small_table().test[:, seed].numpy() for seed in (0, 1))
    assert small_table().noise_ceiling()[0] == pytest.approx(kendalltau(first, second).statistic)
    assert all(0 < tau < 1 for tau in TABLE.noise_ceiling()[1].values())
    assert set(TABLE.noise_ceiling()[1]) == set(CENTRES)


def test_the_loop_trains_as_a_final_training_does():
    """The same first weights, batches, rates and steps: the same errors, here after two epochs."""
    full, _ = full_widths()
    widths = {**full, "stem": 4}

    def trainer(*args, **overrides) -> pl.Trainer:
        return make_trainer({"accelerator": "cpu", "devices": 1}, *args, **overrides)

    settings = {
        "task": Classification(10),
        "optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
        "scheduler": partial(cosine, warmup=0.1),
    }
    data = digits_data()
    data.order_seed = 1
    wanted = Recipe(2, 1, trainer, settings).train(resized_config(BASE, INPUT_SHAPE, widths), data, seed=1)
    errors = trained_errors(widths, data, seed=1, epochs=2)
    assert (errors.val, errors.test) == pytest.approx((wanted.val_error, wanted.test_error))
