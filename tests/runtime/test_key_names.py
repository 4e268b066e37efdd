"""The nearest key to a mistyped one: what the answer to every mistyped setting rests on."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from src.runtime.key_names import children_of, known_keys, look_up_all, missing_keys, nearest_keys

CONFIG = OmegaConf.create(
    {
        "seed": 0,
        "method": {"delta": 0.1, "trials": 5},
        "retrain": {"epochs": 3, "optimizer": {"lr": 0.1}},
        "optimizer": {"lr": 0.1},
        "alias": "${method}",
        "widths": {"layer1.0.conv1": 8, "layer1.0.conv2": "???"},
        "unset": "???",
        "nothing": None,
    }
)


def test_nodes_and_leaves_are_keys_and_interpolations_are_not_followed():
    keys = known_keys(CONFIG)
    assert {"method", "method.delta", "retrain.optimizer.lr", "alias", "unset", "nothing"} <= set(keys)
    assert "alias.delta" not in keys


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("dleta", ["method.delta"]),  # the setting is known, its place is not
        ("method.dleta", ["method.delta"]),
        ("metod.delta", ["method.delta"]),
        ("retrain.optimizer.rl", ["retrain.optimizer.lr"]),  # letters that changed places
        ("retrain.optimiser.lr", ["retrain.optimizer.lr"]),
        ("lr", ["optimizer.lr", "retrain.optimizer.lr"]),
        ("sede", ["seed"]),
        ("zzz", []),
    ],
)
def test_the_nearest_key_comes_first(given, nearest):
    assert nearest_keys(given, known_keys(CONFIG)) == nearest


def test_where_nothing_is_near_the_deepest_node_lists_its_keys():
    assert children_of(CONFIG, "method.zzz.y") == ["method.delta", "method.trials"]
    assert children_of(CONFIG, "method.delta.y") == ["method.delta", "method.trials"]
    assert "seed" in children_of(CONFIG, "zzz")


def test_missing_values_are_found_under_names_with_dots():
    assert missing_keys(CONFIG) == ["widths.layer1.0.conv2", "unset"]


def test_an_interpolation_that_does_not_resolve_is_named_wherever_it_is():
    look_up_all(CONFIG)
    with pytest.raises(InterpolationKeyError) as caught:
        look_up_all(OmegaConf.create({"a": {"b": [1, "${nope}"]}}))
    assert caught.value.full_key == "a.b[1]"
