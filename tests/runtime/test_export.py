"""The exported programs run where this project is not installed and compute what the network computes."""

import importlib.util
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from src.errors import UserError
from src.runtime import export
from src.runtime.export import Normalised, export_network

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)

READER = """
import sys, torch, onnxruntime
for folder in sys.argv[1:]:
    images, expected = torch.load(folder + "/images.pt"), torch.load(folder + "/expected.pt")
    program = torch.export.load(folder + "/model.pt2").module()
    session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
    for size in (1, 5):
        onnx = session.run(None, {"images": images[:size].numpy()})[0]
        for found in (program(images[:size]), torch.from_numpy(onnx)):
            worst = (found - expected[:size]).abs().max().item()
            assert found.shape == expected[:size].shape and worst < 1e-4, (folder, size, worst)
assert not [name for name in sys.modules if name == "torchvision" or name.split(".")[0] == "src"]
print("same")
"""


class Residual(nn.Module):
    """A convolution, a residual one with batch norm, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        images = self.stem(images)
        return self.head((images + self.block(images)).mean((2, 3)))


def seen(network):
    """`network` with batch statistics of its own features, in training mode: with the initial ones outputs vanish."""
    torch.manual_seed(0)
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average of what it sees
    for _ in range(3):
        network(torch.randn(4, 3, 64, 64))
    return network


NETWORKS = {
    "residual": Residual,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "mobilenet": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
}


def test_exports_run_without_this_project(tmp_path):
    for name, make in NETWORKS.items():
        network = seen(make())
        files = export_network(network, tmp_path / name, (3, 64, 64), MEAN, STD)
        assert files == {"pt2": tmp_path / name / "model.pt2", "onnx": tmp_path / name / "model.onnx"}
        assert network.training
        images = torch.rand(5, 3, 64, 64)
        with torch.no_grad():
            expected = Normalised(network.eval(), MEAN, STD)(images)
        assert expected.std() > 0.01  # otherwise the comparison would say nothing
        torch.save(images, tmp_path / name / "images.pt")
        torch.save(expected, tmp_path / name / "expected.pt")
    folders = [str(tmp_path / name) for name in NETWORKS]
    done = subprocess.run([sys.executable, "-I", "-c", READER, *folders], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


def test_the_network_stays_as_it_was_and_nothing_is_printed(tmp_path, capfd):
    network = seen(Residual()).to(torch.float64, memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_network(network, tmp_path, (3, 32, 32), MEAN, STD)
    assert tuple(capfd.readouterr()) == ("", "")
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.stem.weight.dtype == torch.float64


def test_auxiliary_heads_are_left_out(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    paired = nn.Module()
    paired.forward = lambda images: (network(images), None)
    files = export_network(paired, tmp_path, (3, 4, 4), MEAN, STD, formats=["pt2"])
    assert torch.export.load(files["pt2"]).module()(torch.rand(3, 3, 4, 4)).shape == (3, 2)


class Branching(nn.Module):
    def forward(self, images):
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


class OnlyFives(nn.Module):
    def forward(self, images):
        return images.reshape(5, -1)


def not_finite():
    network = Residual()
    nn.init.constant_(network.head.bias, float("nan"))
    return network


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Branching, "torch.export cannot trace it, "),
        (OnlyFives, r"it fails on images \(1, 3, 32, 32\), RuntimeError"),
        (not_finite, "its outputs are not finite"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_no_file(tmp_path, make, told):
    (tmp_path / "model.pt2").write_text("of another network")
    with pytest.raises(UserError, match=f"the network is not exported: {told}") as caught:
        export_network(make(), tmp_path, (3, 32, 32), MEAN, STD)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_an_error_and_the_other_format_is_written(tmp_path, monkeypatch):
    write, load = export._WRITERS["onnx"]
    monkeypatch.setitem(export._WRITERS, "onnx", (write, lambda path: lambda images: load(path)(images) + 1e-3))
    with pytest.raises(UserError, match=r"model\.onnx cannot be written: the file does not compute .* batch of 1"):
        export_network(Residual(), tmp_path, (3, 32, 32), MEAN, STD)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]


def test_without_its_packages_onnx_is_left_out_with_a_message(tmp_path, monkeypatch, caplog):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "onnx" in name else find(name, *rest))
    files = export_network(Residual(), tmp_path, (3, 32, 32), MEAN, STD)
    assert set(files) == {"pt2"}
    assert "pip install onnx onnxscript onnxruntime" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (((3, 8, 8), MEAN, STD, ["onx"]), "formats='onx' is not known; did you mean 'onnx'"),
        (((1, 8, 8), MEAN, STD), "mean and std need 1 values"),
        (((8, 8), MEAN, STD), "must be .channels, height, width"),
        (((3, 8, 8), MEAN, (1, 0, 1)), "must be positive"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, told):
    with pytest.raises(UserError, match=told):
        export_network(Residual(), tmp_path, *arguments)
