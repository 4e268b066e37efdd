"""Final trainings of variational networks: what is counted, measured and kept of them."""

import math
from functools import cache

import pytest
import pytorch_lightning as pl
import torch

from callbacks.variational_training import VariationalTraining
from src.errors import UserError
from src.methods import final_training
from src.methods.final_training import Recipe, check_monte_carlo, compare, table_row
from src.runtime.build import network_from
from src.runtime.checkpoints import RunState
from src.runtime.trainer import make_trainer
from src.variational.conversion import variational_layers
from src.variational.counting import nonzero_parameters
from tests.searching import BASE, digits, settings

VARIATIONAL = {"_target_": "src.variational.conversion.variational", "model": BASE, "init_log_sigma2": -5.0}


def recipe(**options) -> Recipe:
    def trainer(*args, **overrides) -> pl.Trainer:
        return make_trainer({"accelerator": "cpu", "devices": 1}, *args, **overrides)

    return Recipe(2, 1, trainer, settings(), **options)


def callbacks() -> dict:
    return {"variational_training": VariationalTraining(gamma=3.0, lr=0.2, warmup=0, ramp=0, finetune=0.5)}


@cache
def compared(folder=None, resumed=False):
    state = RunState(folder, "run", resumed) if folder else None
    made = recipe(monte_carlo=3, state=state)
    return compare(made, {"base x": BASE, "found": VARIATIONAL}, digits(), 0, progress=callbacks)


def test_parameters_are_those_of_a_prediction_and_the_non_zero_ones_are_counted():
    """log sigma^2 would double the parameters of every variational network."""
    rows, best = compared()
    plain = sum(p.numel() for p in network_from(BASE).parameters())
    assert [row["parameters"] for row in rows] == [plain, plain]
    assert rows[0]["nonzero"] <= plain
    assert 0 < rows[1]["nonzero"] == nonzero_parameters(best["found"].network) < 0.95 * plain
    assert rows[0]["macs"] == rows[1]["macs"]


def test_trust_is_measured_of_all_and_monte_carlo_of_variational_ones():
    base, found = compared()[0]
    for row in (base, found):
        assert all(math.isfinite(row[key]) for key in ("nll", "ece", "entropy", "noise_entropy"))
        assert 0 < row["noise_entropy"] <= math.log(10) + 1e-5
    assert "monte_carlo_nll" not in base
    assert found["monte_carlo_nll"] != found["nll"]
    assert 0 <= found["monte_carlo_error"] <= 100


def test_one_seed_one_result_and_a_result_that_was_kept(tmp_path):
    """Monte-Carlo's draws are keyed; what a resumed run takes from its folder is what it had measured."""
    (_, first), _ = compared()
    (_, again), _ = compared(tmp_path)
    (_, kept), networks = compared(tmp_path, resumed=True)
    seconds = {"seconds": None}
    assert first | seconds == again | seconds
    assert kept == again
    assert nonzero_parameters(networks["found"].network) == kept["nonzero"]


def test_weights_keep_the_distributions_and_their_mask(tmp_path):
    (_, row), best = compared()
    torch.save(best["found"].network.state_dict(), tmp_path / "weights.pt")
    trained = recipe().train(VARIATIONAL, digits(), 0, weights=tmp_path / "weights.pt", test_only=True)
    assert trained.test_error == row["test_error"]
    assert trained.trust["nll"] == row["nll"]
    assert not all(bool(layer.kept.all()) for layer in variational_layers(trained.network).values())


def test_without_training_nothing_is_measured():
    row = table_row("x", VARIATIONAL, (1, 8, 8), [])
    assert row["nonzero"] is None
    assert "nll" not in row


def test_monte_carlo_of_a_plain_network_is_refused_before_its_training():
    check_monte_carlo(0, BASE)
    check_monte_carlo(3, VARIATIONAL)
    with pytest.raises(UserError, match=r"export\.monte_carlo=3 needs"):
        check_monte_carlo(3, BASE)


def test_the_noise_of_the_draws_is_that_of_the_settings(monkeypatch):
    given = []

    def drawing(network, *settings):
        given.append(settings)
        return network

    monkeypatch.setattr(final_training, "MonteCarlo", drawing)
    made = recipe(monte_carlo=3, noise="local")
    made.train(VARIATIONAL, digits(), 0, test_only=True)
    assert given == [(3, "local")]
