"""Wrong spectra would make every rank wrong, so they are held against full SVD of unfoldings written out by hand."""

import pytest
import torch

from src.errors import UserError
from src.lowrank.unfolding import spectra, unfold

SHAPES = [(6, 4, 3, 3), (40, 33, 3, 3), (3, 50, 1, 1), (8, 90, 3), (5, 2, 2, 3, 2), (12, 30), (24, 1, 3, 3), (2, 9, 3)]


def random_weight(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_unfolding_gathers_one_channel_per_row():
    weight = random_weight((5, 3, 2, 2))
    assert unfold(weight, "in").shape == (3, 20)
    assert unfold(weight, "out").shape == (5, 12)
    assert torch.equal(unfold(weight, "in")[1].sort().values, weight[:, 1].flatten().sort().values)
    assert torch.equal(unfold(weight, "out")[2], weight[2].flatten())


def test_spectra_of_all_kinds_of_layers_equal_full_svd():
    weights = {str(shape): random_weight(shape, seed) for seed, shape in enumerate(SHAPES)}
    found = spectra(weights)
    assert found.keys == tuple((name, side) for name in weights for side in ("in", "out"))
    for index, (name, side) in enumerate(found.keys):
        matrix = unfold(weights[name].double(), side)
        true = torch.linalg.svdvals(matrix)
        assert (int(found.rows[index]), int(found.columns[index])) == tuple(matrix.shape)
        torch.testing.assert_close(found.values[index, : len(true)], true, rtol=1e-9, atol=1e-6)
        assert not found.values[index, len(true) :].any(), "padding must not look like singular values"


def test_small_singular_values_survive_the_gram_matrix():
    """A float32 Gram matrix loses everything below 3e-4 of the largest value."""
    left = torch.linalg.qr(random_weight((64, 64)).double()).Q
    right = torch.linalg.qr(random_weight((300, 64), 1).double()).Q
    true = torch.logspace(0, -4, 64, dtype=torch.float64)
    found = spectra({"layer": (left * true) @ right.T}, sides=("out",)).values[0]
    torch.testing.assert_close(found, true, rtol=1e-6, atol=0)


def test_both_sides_of_a_pointwise_weight_share_one_spectrum():
    found = spectra({"layer": random_weight((20, 7, 1, 1))})
    assert torch.equal(found.values[0], found.values[1])
    assert found.rows.tolist() == [7, 20]
    assert found.columns.tolist() == [20, 7]


def test_mixed_precision_training_does_not_change_the_spectra():
    weight = torch.nn.Parameter(random_weight((16, 8, 3, 3)))
    plain = spectra({"layer": weight})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectra({"layer": weight}).values, plain.values)
    halved = weight.detach().bfloat16()
    assert torch.equal(spectra({"layer": halved}).values, spectra({"layer": halved.float()}).values)
    assert not plain.values.requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", [0, -1])
def test_diverged_weights_name_their_layer(bad: float, position: int):
    broken = random_weight((8, 8, 3, 3))
    broken.view(-1)[position] = bad
    with pytest.raises(UserError, match=r"layer2\.conv1.*diverged"):
        spectra({"layer1.conv1": random_weight((8, 8, 3, 3)), "layer2.conv1": broken})


def test_wrong_side_and_wrong_shape_are_told():
    with pytest.raises(UserError, match="did you mean 'out'"):
        unfold(random_weight((4, 4)), "outt")
    with pytest.raises(UserError, match=r"\(7,\).*no unfolding"):
        spectra({"bias": random_weight((7,))})
