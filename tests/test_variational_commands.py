"""A variational network from the command line: trained, tested, exported, and tested again from its folder."""

import csv

import torch
import yaml
from failing import succeeded

ARCHITECTURE = {
    "_target_": "src.variational.conversion.variational",
    "init_log_sigma2": -4.0,
    "model": {
        "_target_": "src.networks.resnet.ResNet",
        "blocks": [1],
        "channels": [6],
        "num_classes": 10,
        "in_channels": 1,
    },
}
OPTIONS = ("trainer=cpu", "trainer.threads=1", "logger=csv", "data.limit=160", "export.monte_carlo=2")


def row_of(folder) -> dict[str, str]:
    (row,) = csv.DictReader((folder / "comparison.csv").open())
    return row


def test_train_and_test_again(tmp_path):
    """The program of means is that of the mask, and weights.pt gives the same figures in another process."""
    (tmp_path / "architecture.yaml").write_text(yaml.safe_dump(ARCHITECTURE))
    first, second = tmp_path / "train", tmp_path / "test"
    given = f"architecture={tmp_path / 'architecture.yaml'}"
    phases = ("callbacks.variational_training.gamma=3", "callbacks.variational_training.lr=0.2")
    done = succeeded("train.py", first, *OPTIONS, given, "epochs=4", "export.formats=[pt2]", *phases)
    assert "non-zero" in done.out
    files = {path.name for path in first.iterdir()}
    assert files >= {"weights.pt", "model.pt2", "model_monte_carlo.pt2", "sparsity.csv"}
    assert "train/kl" in (first / "metrics.csv").read_text()
    sparsity = list(csv.DictReader((first / "sparsity.csv").open()))
    weights = torch.load(first / "weights.pt", weights_only=True)
    assert sparsity[0]["layer"] == "stem"
    assert int(sparsity[0]["nonzero"]) == int(weights["stem.kept"].sum())  # fine-tuned: live is kept
    program = dict(torch.export.load(first / "model.pt2").state_dict)
    assert torch.equal(program["network.stem.weight"], weights["stem.weight"] * weights["stem.kept"])
    assert not [name for name in program if "log_sigma2" in name]

    succeeded("train.py", second, *OPTIONS, f"architecture={first}", "test_only=true", "export.formats=[]")
    before, after = row_of(first), row_of(second)
    for key in ("test_error", "nll", "ece", "nonzero", "monte_carlo_error", "monte_carlo_nll"):
        assert after[key] == before[key] != "", key
