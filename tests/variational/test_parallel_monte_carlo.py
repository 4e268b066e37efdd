"""Prediction with all draws at once, against one draw after the other."""

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.variational.conversion import deterministic, variational, variational_layers
from src.variational.monte_carlo import MonteCarlo
from src.variational.parallel_monte_carlo import ParallelMonteCarlo

NOISES = pytest.mark.parametrize("noise", ["weights", "local"])


def network(log_sigma2: float = -3.0) -> nn.Module:
    """Convolutions of all kinds, a linear layer of tokens, one without variational weights, and removed weights."""
    torch.manual_seed(0)
    model = variational(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2, groups=4, bias=False),
            nn.Flatten(2),
            nn.Linear(4, 3, bias=False),
            nn.Flatten(),
            nn.Linear(24, 3),
        ),
        log_sigma2,
    )
    with torch.no_grad():
        model[3].weight *= 3
        model[7].kept[:, ::2] = False
    return model.eval()


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def exported(model: nn.Module) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(model, (images(),), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})


@NOISES
def test_one_draw_is_that_of_the_network(noise):
    """With one draw both take the same noise from the generator, in the same order."""
    own, parallel, shown = MonteCarlo(network(), 1, noise), ParallelMonteCarlo(network(), 1, noise), images()
    torch.manual_seed(2)
    expected = own(shown)
    assert not torch.equal(own(shown), expected)
    torch.manual_seed(2)
    torch.testing.assert_close(parallel(shown), expected)


def test_each_draw_has_weights_of_its_own(monkeypatch):
    """Groups of channels in the wrong order would mix draws or images, which a mean over many draws may hide."""
    model, drawing = network(), torch.Generator().manual_seed(3)
    layers = variational_layers(model)
    noise = {layer.weight.shape: torch.randn(3, *layer.weight.shape, generator=drawing) for layer in layers.values()}
    assert len(noise) == len(layers)
    shown, expected = images(), []
    monkeypatch.setattr(torch, "randn", lambda samples, *shape, **options: noise[shape])
    for draw in range(3):
        plain = deterministic(model)
        for name, layer in layers.items():
            deviation = (0.5 * layer.log_sigma2).exp() * layer.live()
            plain.get_submodule(name).weight.data += deviation * noise[layer.weight.shape][draw]
        expected.append(plain(shown).softmax(1))
    torch.testing.assert_close(ParallelMonteCarlo(model, 3)(shown).exp(), torch.stack(expected).mean(0))


@NOISES
def test_without_variance_it_is_the_network(noise):
    """As log of the probabilities, of each image its own; local reparameterisation leaves noise of 1e-4."""
    model = network(-60.0)
    found = ParallelMonteCarlo(model, 3, noise).train()(images())
    torch.testing.assert_close(found, model(images()).log_softmax(1), atol=5e-3, rtol=0)


@NOISES
def test_the_exported_graph_does_not_grow_with_the_draws(noise):
    """A graph of S networks takes torch.export minutes for S = 5, and 20 are usual."""
    parallel = ParallelMonteCarlo(network(), 20, noise)
    few, many = exported(ParallelMonteCarlo(network(), 2, noise)), exported(parallel)
    assert len(few.graph.nodes) == len(many.graph.nodes)
    run, shown = many.module(), images(7)
    torch.manual_seed(1)
    expected = parallel(shown)
    torch.manual_seed(1)
    torch.testing.assert_close(run(shown), expected)
    assert not torch.equal(run(shown), run(shown)), "noise that was traced as a constant is one network for ever"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "eval_samples=0"),
        ({"noise": "lrt"}, "eval_noise='lrt'"),
        ({"network": nn.Linear(2, 2)}, "Linear has no variational layers"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        ParallelMonteCarlo(**{"network": network(), **options})
