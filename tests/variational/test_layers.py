"""Variational layers: moments of what is drawn, gradients, masks, and what evaluation mode computes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.errors import UserError
from src.variational.layers import VariationalConv2d, VariationalLinear
from src.variational.local_draw import LocalDraw
from src.variational.products import Convolution, MatrixProduct

CONVOLUTIONS = {
    "depthwise": {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "groups": 4, "padding": 1, "bias": False},
    "dilated": {"in_channels": 4, "out_channels": 8, "kernel_size": 3, "groups": 2, "padding": 2, "dilation": 2},
    "strided": {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 5), "stride": (2, 1), "padding": "valid"},
    "same": {"in_channels": 4, "out_channels": 6, "kernel_size": 4, "padding": "same", "padding_mode": "circular"},
    "1x1": {"in_channels": 4, "out_channels": 6, "kernel_size": 1},
}


def layer_of(name: str, log_sigma2: float = -2.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    if name == "linear":
        layer = VariationalLinear(6, 3, log_sigma2=log_sigma2)
    else:
        layer = VariationalConv2d(**CONVOLUTIONS[name], log_sigma2=log_sigma2)
    with torch.no_grad():
        layer.log_sigma2.add_(torch.randn_like(layer.log_sigma2))
    return layer.to(dtype)


def images_of(name: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, 6 if name == "linear" else 4, *(() if name == "linear" else (7, 7)), dtype=dtype)


def autograd_draw(layer: nn.Module, x: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """The formula as it stands, for autograd."""
    theta, sigma2 = layer.weight * layer.kept, layer.log_sigma2.exp() * layer.kept
    mean, variance = layer._product(x, theta, layer.bias), layer._product(x.square(), sigma2, None)
    return mean + (variance + 1e-8).sqrt() * eps


@pytest.mark.parametrize("name", ["linear", *CONVOLUTIONS])
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_and_gradients_are_those_of_the_formula(name, masked):
    """The hand-written backward, and whatever stride, padding, dilation and groups a layer has."""
    layer, x = layer_of(name, dtype=torch.float64), images_of(name, dtype=torch.float64).requires_grad_()
    if masked:
        layer.kept.copy_(torch.rand(layer.kept.shape) < 0.6)
    torch.manual_seed(1)
    ours = layer(x)
    torch.manual_seed(1)
    expected = autograd_draw(layer, x, torch.randn_like(ours))
    torch.testing.assert_close(ours, expected)
    tensors = [x, *layer.parameters()]
    upstream = torch.randn_like(ours)
    found, meant = (torch.autograd.grad(out, tensors, upstream) for out in (ours, expected))
    for one, other in zip(found, meant, strict=True):
        torch.testing.assert_close(one, other)
    if masked:
        gradients = dict(zip(["x", *dict(layer.named_parameters())], found, strict=True))
        assert not gradients["weight"][~layer.kept].any()
        assert not gradients["log_sigma2"][~layer.kept].any()


@pytest.mark.parametrize("name", ["depthwise", "dilated", "strided"])
def test_one_convolution_for_both_moments_is_two_bit_for_bit(name, monkeypatch):
    """The rule that chooses between them looks at sizes, so a result must not depend on it (T5)."""
    layer, x = layer_of(name), images_of(name).requires_grad_()
    found = []
    for fuses in (True, False):
        monkeypatch.setattr(Convolution, "fuses", lambda self, x, weight, fuses=fuses: fuses)
        torch.manual_seed(1)
        out = layer(x)
        found.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_only_small_convolutions_above_1x1_are_fused():
    """Elsewhere one convolution is slower, up to 2.8 times."""
    product, small, large = (
        Convolution((1, 1), (1, 1), (1, 1), 1),
        torch.zeros(8, 16, 8, 8),
        torch.zeros(64, 16, 16, 16),
    )
    dense, pointwise = torch.zeros(16, 16, 3, 3), torch.zeros(16, 16, 1, 1)
    assert product.fuses(small, dense)
    assert not product.fuses(large, dense)
    assert not product.fuses(small, pointwise)
    assert not product.fuses(small.to(memory_format=torch.channels_last), dense)


@pytest.mark.parametrize("name", ["depthwise", "linear"])
def test_moments_are_those_of_drawn_weights(name):
    """Local reparameterisation stands for drawing weights: same mean, same variance, for each output (T5)."""
    layer, x = layer_of(name), images_of(name, batch=1)
    draws = 20_000
    many = x.expand(draws, *x.shape[1:])
    with torch.no_grad():
        local = layer(many)
        sigma = (0.5 * layer.log_sigma2).exp()
        weights = layer.weight + sigma * torch.randn(draws, *layer.weight.shape)
        if name == "linear":
            drawn = torch.einsum("noi,i->no", weights, x[0]) + layer.bias
        else:  # all draws as the channels of one convolution
            stacked = F.conv2d(x.repeat(1, draws, 1, 1), weights.flatten(0, 1), padding=1, groups=4 * draws)
            drawn = stacked.view(draws, 4, 7, 7)
    error = (drawn.var(0) / draws).sqrt()
    assert ((local.mean(0) - drawn.mean(0)).abs() < 5.5 * error * 2**0.5).all()
    ratios = local.var(0) / drawn.var(0)
    assert abs(ratios.mean() - 1) < 0.03
    assert ((ratios - 1).abs() < 0.08).all()


def test_without_noise_a_layer_is_the_plain_one():
    """Vanishing variances, or noise that is switched off: theta alone decides (T9)."""
    layer, x = layer_of("dilated", log_sigma2=-40.0), images_of("dilated")
    expected = F.conv2d(x, layer.weight, layer.bias, padding=2, dilation=2, groups=2)
    torch.testing.assert_close(layer(x), expected, atol=1e-3, rtol=0)  # 1e-4 of noise where the variance is 0
    layer.noisy = False
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), expected)


def test_evaluation_takes_live_weights_alone():
    """Evaluation without the mask would report the error of one network and the size of another."""
    layer, x = layer_of("linear", log_sigma2=0.0).eval(), images_of("linear", batch=5)
    assert 0 < layer.live().sum() < layer.live().numel()
    assert torch.equal(layer.live(), layer.log_alpha() < 3.0)
    expected = F.linear(x, layer.weight * layer.live(), layer.bias)
    assert torch.equal(layer(x), expected)
    live = layer.live()
    layer.freeze()
    with torch.no_grad():
        layer.log_sigma2.fill_(-40.0)
    assert torch.equal(layer.live(), live), "what is frozen stays removed"
    assert torch.equal(layer(x), expected)
    layer.noisy = False
    assert torch.equal(layer.train()(x), expected)


def test_sampled_weights_are_shared_by_the_batch_and_local_draws_are_not():
    layer, x = layer_of("linear").eval(), torch.randn(1, 6).expand(4, 6)
    with torch.no_grad():
        layer.log_sigma2[0] = 30.0  # all of output 0 is noise, and removed
        layer.sampled = "weights"
        assert (layer(x).std(0) == 0).all()
        assert not torch.equal(layer(x), layer(x))
        layer.sampled = "local"
        assert (layer(x).std(0)[1:] > 0).all()
        torch.testing.assert_close(layer(x)[:, 0], layer.bias[0].expand(4), atol=1e-3, rtol=0)
        layer.sampled = "weight"
        with pytest.raises(UserError, match="did you mean 'weights'"):
            layer(x)


def test_masks_are_seen_however_they_change():
    """Training skips a mask that is all True; it must see one that a checkpoint or another rank has written."""
    layer, x = layer_of("linear"), images_of("linear")
    layer.noisy = False
    assert layer(x).any()
    other = copy.deepcopy(layer)
    with torch.inference_mode():
        layer.kept.zero_()
    state = layer.state_dict()
    assert torch.equal(layer(x), layer.bias.expand(2, 3))
    other.load_state_dict(state)
    assert torch.equal(other(x), layer.bias.expand(2, 3))
    other.kept = torch.ones_like(other.kept)
    assert not torch.equal(other(x), layer.bias.expand(2, 3))


@pytest.mark.parametrize("name", ["linear", "depthwise", "dilated"])
@pytest.mark.parametrize("log_alpha", [-50.0, 50.0])
@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16])
def test_no_nan(name, log_alpha, half):
    """At theta = 0, at extreme alphas, under autocast, where x^2 and sigma^2 leave the range of half floats."""
    layer, x = layer_of(name), 300 * images_of(name)
    x[0] = 0
    with torch.no_grad():
        layer.log_sigma2.copy_(log_alpha + (layer.weight.square() + 1e-8).log())
        layer.weight[0] = 0
    x.requires_grad_()
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        out = layer(x)
        out.float().square().mean().backward()
    assert out.isfinite().all()
    assert out.dtype == (torch.bfloat16 if half is torch.bfloat16 else torch.float32)
    assert all(p.grad.isfinite().all() for p in [x, *layer.parameters()])
    assert layer.eval()(x).isfinite().all()


def test_noise_is_independent_in_every_memory_format():
    """The noise is written in the order of memory; a wrong view of it would repeat values or leave some unset."""
    x = torch.randn(8, 4, 6, 6)
    for form in (torch.contiguous_format, torch.channels_last):
        layer = VariationalConv2d(4, 5, 3, padding=1, log_sigma2=0.0).to(memory_format=form)
        noise = layer(x.to(memory_format=form)) - layer._product(x, layer.weight, layer.bias)
        assert noise.unique().numel() == noise.numel()
        assert noise.is_contiguous(memory_format=form)


def test_inputs_of_any_number_of_dimensions():
    """nn.Linear takes any, nn.Conv2d one image without a batch."""
    linear, convolution = layer_of("linear", -40.0), layer_of("1x1", -40.0)
    x, image = torch.randn(2, 3, 6), torch.randn(4, 7, 7)
    torch.testing.assert_close(linear(x), F.linear(x, linear.weight, linear.bias), atol=1e-3, rtol=0)
    expected = F.conv2d(image, convolution.weight, convolution.bias)
    torch.testing.assert_close(convolution(image), expected, atol=1e-3, rtol=0)


def test_what_is_kept_for_the_backward():
    """Memory: besides the weights only the input and one tensor of the size of the output."""
    layer, x = layer_of("linear"), images_of("linear")
    out = LocalDraw.apply(x, layer.weight, layer.log_sigma2, layer.bias, None, MatrixProduct())
    sizes = sorted(saved.numel() for saved in out.grad_fn.saved_tensors if saved is not None)
    assert sizes == sorted([x.numel(), out.numel(), layer.weight.numel(), layer.weight.numel()])
