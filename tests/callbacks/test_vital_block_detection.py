"""The report of vital blocks, and the lesion study at the end."""

import csv
import io
from functools import partial

import pytest
import torch
from rich.console import Console

from callbacks.vital_block_detection import VitalBlockDetection
from src.errors import UserError
from src.graph.lesions import lesion_mask
from src.methods.training_module import TrainingModule
from src.networks.resnet import ResNet
from src.runtime.seeds import keyed_generator
from src.runtime.trainer import make_trainer
from tests import searching


def rows(path) -> list[dict]:
    with open(path) as file:
        return list(csv.DictReader(file))


def trainer_with(callback: VitalBlockDetection):
    callbacks = [callback]
    return make_trainer({"accelerator": "cpu", "devices": 1, "num_sanity_val_steps": 0}, callbacks, max_epochs=1)


def module_of(**more) -> TrainingModule:
    torch.manual_seed(0)
    return TrainingModule(ResNet([1, 1], [8, 12], 10, 1), **searching.settings(), **more)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit of one epoch on data whose test part cannot be opened: (callback, module, data, folder)."""
    folder, data = tmp_path_factory.mktemp("run"), searching.digits()
    data.test_dataloader = None
    callback = VitalBlockDetection(folder, lesion=[0.5, 1.0], seed=3, console=quiet())
    module = module_of()
    trainer_with(callback).fit(module, datamodule=data)
    return callback, module, data, folder


def test_a_training_tells_its_vital_blocks(fitted):
    """The files and the table are what the callback is for."""
    callback, module, _, folder = fitted
    table = rows(folder / "vital_blocks.csv")
    assert [(row["block"], row["vital"]) for row in table] == [("layer1.0", "false"), ("layer2.0", "true")]
    own = sum(parameter.numel() for parameter in module.network.layer2.parameters())
    assert int(table[1]["params"]) == own
    assert float(table[1]["params_share"]) == own / sum(p.numel() for p in module.network.parameters())
    told = callback._console.file.getvalue()
    assert all(word in told for word in ("layer2.0", "1 non-vital", "outside the blocks: stem, bn, fc", "p = 0.5"))
    assert "Lesions" in (folder / "vital_blocks.html").read_text()  # its module has no report of its own
    assert [heading for heading, _, _ in callback.report_figures()] == ["Vital blocks", "Lesions"]


def test_lesions_are_those_of_the_trained_network_on_validation_images(fitted):
    """Measured on other images, or before the training, they would say nothing of the network."""
    _, module, data, folder = fitted
    found = {(row["block"], float(row["p"])): float(row["accuracy"]) for row in rows(folder / "lesions.csv")}
    assert set(found) == {(block, p) for block in ("layer1.0", "layer2.0") for p in (0.5, 1.0)}
    network = module.network.eval()
    images, labels = (torch.cat(parts) for parts in zip(*data.whole_validation(), strict=True))
    for block, rate in found:
        mask = lesion_mask(8 if block == "layer1.0" else 12, rate, keyed_generator(3, "lesion", block, repr(rate)))
        layer = network.get_submodule(block)
        branches = [layer.bn2, layer.shortcut] if block == "layer2.0" else [layer.bn2]
        hooks = [b.register_forward_hook(lambda m, i, out, mask=mask: out * mask.view(1, -1, 1, 1)) for b in branches]
        with torch.no_grad():
            accuracy = 100 * (network(images).argmax(1) == labels).float().mean()
        for hook in hooks:
            hook.remove()
        assert found[block, rate] == pytest.approx(accuracy.item(), abs=1e-3)


def test_a_validation_of_its_own_is_enough(fitted, tmp_path):
    """`test_only=true` trains nothing, and the study has to come all the same, with the same values."""
    _, module, data, folder = fitted
    callback = VitalBlockDetection(tmp_path, lesion=[0.5, 1.0], seed=3, console=quiet())
    trainer_with(callback).validate(module, datamodule=data, verbose=False)
    assert (tmp_path / "lesions.csv").read_text() == (folder / "lesions.csv").read_text()


def test_a_module_may_offer_another_network_or_none_yet(tmp_path):
    """A super-net has no one network until something was chosen."""
    module, data = module_of(), searching.digits()
    callback = VitalBlockDetection(tmp_path, console=quiet())
    module.vital_network = lambda: None
    trainer_with(callback).validate(module, datamodule=data, verbose=False)
    assert not list(tmp_path.iterdir())
    module.vital_network = lambda: ResNet([1, 1, 1], [4, 8, 8], 10, 1)
    trainer_with(callback).validate(module, datamodule=data, verbose=False)
    assert [row["vital"] for row in rows(tmp_path / "vital_blocks.csv")] == ["false", "true", "true"]


def test_a_super_net_that_cannot_be_traced_is_told_by_its_config(tmp_path):
    """Methods that select weights in the forward have blocks too, but no one trained network to lesion."""
    module = searching.CafeNet(base=searching.BASE, input_shape=(1, 8, 8), **searching.settings())
    report = partial(VitalBlockDetection, tmp_path, console=quiet())
    assert report().found(None, module)[1].vital == ("layer2.0",)
    with pytest.raises(UserError, match="lesion needs a network that can be traced"):
        report(lesion=[1.0]).found(None, module)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lesion": [0.3, 1.5]}, r"vital_blocks.lesion\[1\]=1.5 is not allowed"),
        ({"lesion": 0.3}, "vital_blocks.lesion=0.3 is not allowed; it must be a list"),
        ({"lesion": []}, "must be a list"),
        ({"images": 0}, "vital_blocks.images=0"),
        ({"seed": -1}, "vital_blocks.seed=-1"),
        ({"blocks": [3]}, r"vital_blocks.blocks\[0\]=3"),
        ({"parameter_free_shortcuts": "no"}, "parameter_free_shortcuts='no'"),
    ],
)
def test_wrong_settings_are_told(tmp_path, options, message):
    """Hours later would be late."""
    with pytest.raises(UserError, match=message):
        VitalBlockDetection(tmp_path, **options)
