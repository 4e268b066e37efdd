"""A cascade is a model config like any other: built, kept, tested with its weights, with its MACs measured."""

import csv
import warnings

import pytest
import torch
import yaml

from src.errors import UserError
from src.graph.channel_graph import channel_graph
from src.methods.final_training import check_accepts, table_row
from src.networks.cascade import Cascade
from src.networks.cascade_macs import fill_macs
from src.runtime.architecture import load_architecture, save_architecture
from src.runtime.build import network_from
from src.tasks.multilabel import Multilabel
from tests.always.processes import ONE_DEVICE, completed
from tests.failing import succeeded
from tests.methods.test_final_training import recipe
from tests.networks.cascade_folder import CONFIG, write_cascade
from tests.searching import BASE, digits

NESTED = {**CONFIG, "members": [CONFIG, BASE], "names": ["inner", "last"]}


def test_a_nested_config_is_built_and_goes_round_through_architecture_yaml(tmp_path):
    save_architecture(tmp_path / "architecture.yaml", NESTED)
    assert load_architecture(tmp_path) == NESTED
    network = network_from(load_architecture(tmp_path)).eval()
    assert isinstance(network.members[0], Cascade)
    assert network.members[0].names == ["narrow", "wide"]
    assert "members.0.members.1.fc.weight" in network.state_dict()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": [0.5]}, "has no argument 'threshold'; did you mean 'thresholds'"),
        ({"members": [BASE, {**BASE, "blokcs": [1]}]}, r"model.members\[1\].*no argument 'blokcs'"),
        ({"members": [BASE, {**BASE, "_target_": "src.networks.resnet.ResNt"}]}, "did you mean 'ResNet'"),
        ({"thresholds": [2]}, r"model.thresholds\[0\]=2"),
    ],
)
def test_a_mistake_in_a_config_is_one_sentence(change, told):
    with pytest.raises(UserError, match=told):
        network_from({**CONFIG, **change})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cascade"
    write_cascade(folder)
    return folder


def counted(folder):
    """MACs of the members, and how many of the test images reached each, by the network alone."""
    network = network_from(load_architecture(folder)).eval()
    network.load_state_dict(torch.load(folder / "weights.pt"))
    with torch.no_grad():
        for images, _ in digits().test_dataloader():
            network(images)
    fill_macs(network, (1, 8, 8))
    assert 449 == network.reached[0] > network.reached[1] > 0
    return network


def test_a_test_measures_the_macs_of_the_test_images(folder):
    """Those of the validation, and of the images that tried the members, are not counted; nothing is warned of."""
    config = load_architecture(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trained = recipe().train(config, digits(), 0, weights=folder / "weights.pt", test_only=True)
        row = table_row("cascade", config, (1, 8, 8), [trained])
    expected = counted(folder)
    assert trained.network.reached == expected.reached
    assert row["macs"] == trained.macs == expected.average_macs()
    assert row["width"] is None
    sizes = [sum(p.numel() for p in network_from(member).parameters()) for member in config["members"]]
    assert row["parameters"] == sum(sizes)
    given = recipe().train({**config, "macs": [1, 10]}, digits(), 0, weights=folder / "weights.pt", test_only=True)
    assert given.macs == pytest.approx(1 + 10 * expected.reached[1] / 449)


def test_it_is_refused_where_it_would_be_trained_or_searched_or_given_several_labels(folder):
    with pytest.raises(UserError, match=r"a cascade is not trained: .*test_only=true"):
        recipe().train(CONFIG, digits(), 0)
    with pytest.raises(UserError, match="a cascade has no widths of its own"):
        channel_graph(network_from(CONFIG), (1, 8, 8))
    with pytest.raises(UserError, match="task=classification only"):
        recipe(task=Multilabel(10)).train(CONFIG, digits(), 0, test_only=True)


def test_the_member_that_images_do_not_fit_is_named():
    with pytest.raises(UserError, match=r"the member 'last' does not take images of shape \(1, 8, 8\)"):
        check_accepts(network_from({**NESTED, "members": [CONFIG, {**BASE, "in_channels": 3}]}), (1, 8, 8))


def test_the_command_tests_the_cascade_of_a_run_folder(folder, tmp_path):
    """Error and MACs of its table, and the exported program, are those of the network in the folder."""
    out = tmp_path / "out"
    options = [*ONE_DEVICE, "trainer.threads=1", "logger=none", "export.formats=[pt2]"]
    succeeded("train.py", out, f"architecture={folder}", "test_only=true", *options)
    row = next(csv.DictReader((out / "comparison.csv").open()))
    expected = counted(folder)
    assert (row["network"], row["width"]) == ("cascade", "")
    assert float(row["macs"]) == expected.average_macs()
    wrong = 0
    program = torch.export.load(out / "model.pt2").module()
    for images, labels in digits().test_dataloader():
        wrong += int((program(images * 0.3761 + 0.3057).argmax(1) != labels).sum())
    assert float(row["test_error"]) == pytest.approx(100 * wrong / 449, abs=0.3)
    assert yaml.safe_load((out / "architecture.yaml").read_text()) == load_architecture(folder)
    assert "WARNING" not in (out / "train.log").read_text()


@pytest.mark.slow
def test_two_processes_count_together_what_one_counts(folder, tmp_path):
    out = tmp_path / "out"
    options = ["trainer=ddp_cpu", "trainer.threads=1", "logger=none", "export.formats=[]", f"hydra.run.dir={out}"]
    completed(["train.py", f"architecture={folder}", "test_only=true", *options])
    row = next(csv.DictReader((out / "comparison.csv").open()))
    assert float(row["macs"]) == counted(folder).average_macs()
