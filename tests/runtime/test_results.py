"""What a run leaves at its end: its result does not hang on its exports."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from src.runtime import results
from src.variational.conversion import variational

DATA = SimpleNamespace(input_shape=(1, 2, 2), mean=(0.5,), std=(0.2,))


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Calls `write_results` without a table; returns the folder."""
    monkeypatch.setattr(results, "print_table", lambda rows: None)
    monkeypatch.setattr(results, "export_network", lambda *arguments: None)
    monkeypatch.setattr(results, "write_table_csv", lambda path, rows: path.write_text("table"))

    def call(network: nn.Module | None, noise: str = "weights"):
        results.write_results(tmp_path, [], network, DATA, ["pt2"], 2, noise)
        return tmp_path

    return call


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("error", [RuntimeError("out of memory\nand more"), KeyboardInterrupt()])
def test_whatever_happens_in_the_monte_carlo_export_the_run_has_ended(error, written, tmp_path, monkeypatch, caplog):
    def failing(*arguments):
        raise error

    monkeypatch.setattr(results, "export_monte_carlo", failing)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            written(variational(network()))
    else:
        written(variational(network()))
        assert caplog.messages == ["RuntimeError: out of memory"]
    assert (tmp_path / "comparison.csv").is_file()
    assert (tmp_path / "weights.pt").is_file()


def test_the_noise_goes_into_the_export(written, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(results, "export_monte_carlo", lambda *arguments: given.append(arguments))
    written(variational(network()), "local")
    assert (given[0][1], given[0][-1]) == (2, "local")
    assert "exporting the mean prediction of 2 draws" in capsys.readouterr().out


def test_draws_that_cannot_be_are_told(written, caplog):
    written(network())
    written(None)
    assert "Sequential has no variational layers" in caplog.messages[0]
    assert "no network was trained" in caplog.messages[1]
