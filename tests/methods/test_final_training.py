"""Both networks of the final table are trained alike, and the test has no say in anything."""

import math

import pytest
import pytorch_lightning as pl
import torch

from src.errors import UserError
from src.methods.final_training import Recipe, compare, table_row
from src.methods.weights import load_weights
from src.runtime.build import network_from
from src.runtime.trainer import make_trainer
from tests.searching import BASE, digits, settings

WIDE = {**BASE, "channels": [10, 16]}


def recipe(epochs: int = 1, repeats: int = 1, **options) -> Recipe:
    def trainer(*args, **overrides) -> pl.Trainer:
        return make_trainer({"accelerator": "cpu", "devices": 1}, *args, **overrides)

    return Recipe(epochs, repeats, trainer, {**settings(), **options})


def test_one_seed_one_result_and_another_seed_another():
    data = digits()
    first, again, other = (recipe().train(BASE, data, seed) for seed in (1, 1, 2))
    assert first.val_error == again.val_error
    assert torch.equal(first.network.fc.weight, again.network.fc.weight)
    assert not torch.equal(first.network.fc.weight, other.network.fc.weight)


def test_the_table_has_every_run_and_the_kept_one_is_chosen_on_validation():
    rows, best = compare(recipe(repeats=2), {"base x": BASE, "found": WIDE}, digits(), 0)
    assert [row["network"] for row in rows] == ["base x", "found"]
    assert rows[0]["macs"] < rows[1]["macs"]
    assert [len(row["test_error"]) for row in rows] == [2, 2]
    assert best["found"].val_error == min(rows[1]["val_error"])


def test_without_epochs_nothing_is_trained():
    rows, best = compare(recipe(epochs=0, repeats=3), {"base": BASE, "found": WIDE}, digits(), 0)
    assert best == {}
    assert rows[0]["test_error"] is None


def test_weights_are_loaded_and_foreign_ones_refused(tmp_path):
    network = network_from(BASE)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    trained = recipe().train(BASE, digits(), 7, weights=tmp_path / "weights.pt", test_only=True)
    assert torch.equal(trained.network.fc.weight, network.fc.weight)
    assert math.isnan(trained.seconds)
    with pytest.raises(UserError, match="cannot be loaded into this architecture"):
        load_weights(network_from(WIDE), tmp_path / "weights.pt")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_weights(network_from(BASE), tmp_path / "broken.pt")


def test_a_row_counts_the_network_it_names():
    row = table_row("x", BASE, (1, 8, 8), [])
    assert row["parameters"] == sum(p.numel() for p in network_from(BASE).parameters())


def test_images_that_a_network_cannot_take_are_named_before_the_training():
    with pytest.raises(UserError, match=r"ResNet does not take images of shape \(1, 8, 8\).*data.channels"):
        recipe().train({**BASE, "in_channels": 3}, digits(), 0)


def test_a_training_that_diverges_says_so():
    def far(parameters):
        return torch.optim.SGD(parameters, lr=1e18)

    with pytest.raises(UserError, match=r"diverged.*smaller optimizer\.lr"):
        recipe(epochs=2, optimizer=far, scheduler=None).train(BASE, digits(), 0)


@pytest.mark.slow
def test_half_precision_channels_last_and_compile_are_plain_options():
    """Each gives a network of the same kind of error, not a crash, and the plain network at the end."""
    trained = Recipe(
        1,
        1,
        lambda *args, **more: make_trainer(
            {"accelerator": "cpu", "devices": 1, "precision": "bf16-mixed"}, *args, **more
        ),
        {**settings(), "channels_last": True, "compile": True},
    ).train(BASE, digits(), 0)
    assert trained.network.stem.weight.dtype == torch.float32
    assert trained.network.state_dict().keys() == network_from(BASE).state_dict().keys()
    assert trained.test_error < 95
