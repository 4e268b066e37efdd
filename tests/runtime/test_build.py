"""What a user is told when a `_target_` or its arguments are wrong, and what reaches a constructor that is right."""

import sys

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from src.errors import UserError
from src.runtime.build import build, network_from


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module of a user's."""
    (tmp_path / "users_own.py").write_text(
        """
from torch import nn
from src.errors import UserError

class MyNet(nn.Module):
    def __init__(self, widths, depth=1, base=None):
        super().__init__()
        self.widths, self.depth, self.base = widths, depth, base
        if depth < 0:
            raise UserError("depth must not be negative")

def handed_on(**kwargs):
    return MyNet([1], **kwargs)

def failing():
    return {}["absent"]
"""
    )
    (tmp_path / "users_broken.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "users_own"
    for name in ("users_own", "users_broken"):
        sys.modules.pop(name, None)


def test_nested_nodes_are_built_and_containers_are_plain(package):
    node = {
        "_target_": "users_own.MyNet",
        "widths": {"layer1.0.conv1": 8, "list": [1, 2]},
        "base": {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}]},
    }
    for config in (node, OmegaConf.create(node)):
        network = network_from(config)
        assert type(network.widths) is dict
        assert type(network.widths["list"]) is list
        assert isinstance(network.base[0], nn.ReLU)


def test_objects_reach_the_constructor_as_they_are():
    layer = nn.Linear(2, 2)
    optimizer = build({"_target_": "torch.optim.SGD", "lr": 0.1}, "optimizer", params=layer.parameters())
    assert optimizer.param_groups[0]["params"][0] is layer.weight


def test_a_partial_waits_for_its_arguments():
    factory = build({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1}, "optimizer", momentum=0.5)
    optimizer = factory(nn.Linear(2, 2).parameters())
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.1, 0.5)


def test_keyword_arguments_win_over_the_node():
    layer = build({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, "model", out_features=5)
    assert layer.out_features == 5


MISTAKES = [
    ("torchvision.models.resnet81", {}, "no 'resnet81' in torchvision.models; did you mean 'resnet18'"),
    ("torchvison.models.resnet18", {}, "no module 'torchvison'; did you mean 'torchvision'"),
    ("torchvision.modles.resnet18", {}, "no 'modles' in torchvision; did you mean 'models'"),
    ("no_such_thing.Net", {}, "no module 'no_such_thing'; is it installed"),
    ("users_broken.Net", {}, "importing users_broken fails, No module named 'no_such_package_at_all'"),
    ("Net", {}, "'Net' is not a dotted path"),
    ("math.pi", {}, "is a float, which cannot be called"),
    ("torch.nn.Linear", {"in_feature": 3, "out_features": 2}, "no argument 'in_feature'; did you mean 'in_features'"),
    ("torch.nn.Linear", {"in_features": 3}, "needs the argument 'out_features'"),
    ("torchvision.models.resnet18", {"num_clases": 3}, "no argument 'num_clases'; did you mean 'num_classes'"),
    ("users_own.handed_on", {"dept": 3}, "no argument 'dept'; did you mean 'depth'"),
    ("torchvision.models.get_model", {"name": "resnet81"}, "no model 'resnet81'; did you mean 'resnet18'"),
    ("timm.create_model", {"model_name": "resnet81"}, "no model 'resnet81'; did you mean 'resnet18'"),
    ("torch.nn.Linear", {"in_features": 2, "out_features": "two"}, "model.out_features='two' is not allowed; it must"),
    ("torch.nn.Linear", {"in_features": 2, "out_features": 2, "bias": "no"}, "bias='no' is not allowed; it must be"),
    ("torch.nn.Linear", {"in_features": 2, "out_features": -2}, "torch.nn.Linear cannot be built: RuntimeError"),
    ("users_own.MyNet", {"widths": [], "depth": -1}, "depth must not be negative"),
    ("users_own.failing", {}, "users_own.failing cannot be built: KeyError: 'absent'"),
    ("users_own.MyNet", {"widths": [], "base": {"_target_": "torch.nn.Rleu"}}, "model.base: _target_ torch.nn.Rleu"),
    ("builtins.dict", {"a": 1}, "gives a dict, not a torch.nn.Module"),
    ("os.system", {"command": "true"}, "os.system"),
]


@pytest.mark.parametrize(("target", "arguments", "told"), MISTAKES)
def test_mistakes_are_one_sentence(package, target, arguments, told):
    with pytest.raises(UserError) as caught:
        network_from({"_target_": target, **arguments})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("node", [{"width": 3}, None, "torch.nn.Linear", {"_target_": 3}])
def test_what_is_no_node_is_refused(node):
    with pytest.raises(UserError, match=r"^model (has no _target_|must be a mapping)"):
        build(node, "model")


def test_a_value_that_is_not_given_is_named():
    config = OmegaConf.create({"model": {"_target_": "torch.nn.Linear", "in_features": "???"}})
    with pytest.raises(UserError, match=r"model.in_features has no value"):
        build(config.model, "model")


def test_a_nested_constructor_that_refuses_is_named(package):
    node = {"_target_": "users_own.MyNet", "widths": [], "base": {"_target_": "users_own.failing"}}
    with pytest.raises(UserError, match=r"users_own\.failing cannot be built"):
        build(node, "model")


def test_running_out_of_memory_stays_what_it_is(monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", full)
    with pytest.raises(torch.OutOfMemoryError):
        build({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}, "model")
