"""Programs that draw: what is written draws as the network does, or it is not written."""

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.runtime import monte_carlo_export
from src.runtime.export import Normalised
from src.runtime.monte_carlo_export import export_monte_carlo
from src.variational.conversion import variational
from src.variational.monte_carlo import MonteCarlo

STATISTICS = ((1, 4, 4), (0.5,), (0.2,))


def network(log_sigma2: float = -3.0) -> nn.Module:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    return variational(plain, init_log_sigma2=log_sigma2)


def test_both_formats_draw_and_agree_with_the_network(tmp_path):
    """A tracer or an optimiser of graphs that takes noise for a constant would give one draw for ever."""
    images = torch.rand(7, 1, 4, 4)
    files = export_monte_carlo(network(), 3, tmp_path, *STATISTICS, ["pt2", "onnx"])
    assert files == {name: tmp_path / f"model_monte_carlo.{name}" for name in ("pt2", "onnx")}
    program = torch.export.load(files["pt2"]).module()
    drawn = torch.stack([program(images) for _ in range(200)])
    torch.testing.assert_close(drawn.exp().sum(-1), torch.ones(200, 7))
    own = Normalised(MonteCarlo(network(), 3), *STATISTICS[1:]).eval()
    with torch.no_grad():
        expected = torch.stack([own(images) for _ in range(200)])
    assert drawn.std(0).mean() > 0.01
    torch.testing.assert_close(drawn.exp().mean(0), expected.exp().mean(0), atol=0.05, rtol=0)


class Wrong(nn.Module):
    """Draws, of another distribution than the network."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.log_softmax(torch.randn(len(images), 4) + 5 * torch.arange(4), 1)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (Wrong(), "mean probabilities"),
        (lambda images: torch.full((len(images), 4), 0.25).log(), "does not draw"),
        (lambda images: torch.randn(len(images), 4) * torch.nan, "not finite"),
        (lambda images: torch.randn(5, 4), "it gives"),
    ],
)
def test_a_file_that_does_something_else_is_not_left(run, told, tmp_path, monkeypatch, caplog):
    writer = {"pt2": (monte_carlo_export.WRITERS["pt2"][0], lambda path: run)}
    monkeypatch.setattr(monte_carlo_export, "WRITERS", writer)
    assert export_monte_carlo(network(), 3, tmp_path, *STATISTICS, ["pt2"]) == {}
    assert told in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_network_without_variational_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="no variational layers"):
        export_monte_carlo(nn.Flatten(), 3, tmp_path, *STATISTICS, ["pt2"])
