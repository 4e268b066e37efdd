"""The exported programs run where this project is not installed and compute what the network computes."""

import importlib.util
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from src.errors import UserError
from src.networks.cascade import Cascade
from src.runtime import export
from src.runtime.export import Normalised, export_network
from tests.networks.cascades import spread

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
    write, load = export.WRITERS["onnx"]
    monkeypatch.setitem(export.WRITERS, "onnx", (write, lambda path: lambda images: load(path)(images) + 1e-3))
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


def small_cascade(images):
    """Of three members, the second a cascade of two; of these images some leave at each stage."""

    torch.manual_seed(1)
    flat = [nn.Sequential(nn.Flatten(), nn.Linear(768, 4)) for _ in range(3)]
    inner = spread(Cascade(flat[1:], [0.5]).eval(), images[::3])
    return spread(Cascade([flat[0], inner, seen(Residual())], [0.5, 0.5]).eval(), images)


def test_an_exported_cascade_computes_what_it_computes_live_for_any_batch(tmp_path, caplog):
    """With images that leave at each stage, together and one by one, and with batches of which none goes on."""
    images = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    live = Normalised(nn.Identity(), MEAN, STD)
    live.network = network = small_cascade(live(images))
    with torch.no_grad():
        expected = live(images)
    reached = network.counts()
    assert 40 == reached[0] > reached[1] > reached[2] > 0 < reached[4] < reached[3] == reached[1]
    files = export_network(network, tmp_path, (3, 16, 16), MEAN, STD)
    assert export.__name__ not in caplog.text  # both formats pass on the undecided images, and no others
    assert network.counts() == reached
    for name, path in files.items():
        run = export.WRITERS[name][1](path)
        for size in (1, 7, 40):
            found = torch.cat([run(part) for part in images.split(size)])
            assert torch.allclose(found.exp(), expected.exp(), atol=2**-10)
            assert torch.equal(found.argmax(1), expected.argmax(1))
        assert name == "onnx" or torch.equal(found, expected)  # the same kernels: to the last bit


@pytest.mark.parametrize("refuses", ["tracer", "format"])
@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ("aten.nonzero", "runs a member for all images of a batch where one of them is undecided"),
        ("higher_order.cond", "runs every member of the cascade for every image"),
    ],
)
def test_what_cannot_express_the_exits_gets_another_form_and_it_is_said(
    tmp_path, caplog, monkeypatch, refuses, operation, told
):
    """A member with another forward may not be traceable for a number of images that depends on what they show."""
    trace, (write, load) = torch.export.export, export.WRITERS["pt2"]

    def refused(program):
        assert operation not in program.graph_module.print_readable(print_output=False), "not this operation"
        return program

    if refuses == "tracer":
        monkeypatch.setattr(torch.export, "export", lambda *args, **more: refused(trace(*args, **more)))
    else:
        monkeypatch.setitem(export.WRITERS, "pt2", (lambda program, *rest: write(refused(program), *rest), load))
    torch.manual_seed(0)
    images, live = torch.rand(30, 3, 4, 4), Normalised(nn.Identity(), MEAN, STD)
    members = [nn.Sequential(nn.Flatten(), nn.Linear(48, 3)) for _ in range(2)]
    live.network = spread(Cascade(members, [0.5]).eval(), live(images))
    files = export_network(live.network, tmp_path, (3, 4, 4), MEAN, STD, ["pt2"])
    assert told in caplog.text
    with torch.no_grad():
        assert torch.equal(torch.export.load(files["pt2"]).module()(images), live(images))
    assert live.network.reached == [30, 15]


def test_a_file_of_a_cascade_that_computes_something_else_is_an_error(tmp_path, monkeypatch):
    """Also where only one image leaves too early: logarithms are compared as the probabilities that they are of."""
    write, load = export.WRITERS["pt2"]
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Flatten(), nn.Linear(48, 3)) for _ in range(2)]
    network = Cascade(members, [1.0]).eval()
    first = Normalised(Cascade(members[:1], []).eval(), MEAN, STD)

    def early(path):
        run = load(path)
        return lambda images: torch.cat([first(images[:1]), run(images)[1:]])

    monkeypatch.setitem(export.WRITERS, "pt2", (write, early))
    with pytest.raises(UserError, match=r"model\.pt2 cannot be written: the file does not compute"):
        export_network(network, tmp_path, (3, 4, 4), MEAN, STD, ["pt2"])
    assert not list(tmp_path.iterdir())
