"""Local reparameterisation as one differentiable operation, which is what makes a variational step cheap.

mean = P(x, theta) + bias, variance = P(x^2, sigma^2), out = mean + sqrt(variance + 1e-8) eps, for a product P that is
linear in both (a convolution, a matrix product). Left to autograd it keeps x^2, the variance, its root and eps, and
passes over each of them again; here x and eps / sqrt(variance + 1e-8) are all that is kept.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-8  # under the root: where the variance is 0, out has noise of 1e-4


class Convolution(NamedTuple):
    """The product of a convolution; padding in numbers, zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.ops.aten.convolution(
            x, weight, bias, self.stride, self.padding, self.dilation, False, (0, 0), self.groups
        )

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor | None, ...]:
        sizes = (weight.shape[0],)
        return torch.ops.aten.convolution_backward(
            grad, x, weight, sizes, self.stride, self.padding, self.dilation, False, (0, 0), self.groups, needs
        )


class MatrixProduct:
    """The product of a linear layer, of rows: (B, I) and (O, I) -> (B, O)."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor | None, ...]:
        to_x, to_weight, to_bias = needs
        return (
            grad @ weight if to_x else None,
            grad.t() @ x if to_weight else None,
            grad.sum(0) if to_bias else None,
        )


class LocalDraw(torch.autograd.Function):
    """out(x, theta, log_sigma2, bias, mask, product); weights where the bool `mask` is False count as 0.

    x, theta and bias have the type in which the product is computed; log_sigma2, the root and the noise are float32 (or
    float64) whatever that is.
    """

    @staticmethod
    def forward(ctx: Any, x, theta, log_sigma2, bias, mask, product) -> Tensor:
        sigma2 = log_sigma2.exp()
        if mask is not None:
            theta, sigma2 = theta * mask, sigma2.mul_(mask)
        mean = product.forward(x, theta, bias)
        variance = product.forward(x * x, sigma2.to(x.dtype))
        # fast algorithms of convolution (Winograd) may give sums of squares a little below 0
        deviation = variance.to(log_sigma2.dtype).clamp_min_(0.0).add_(EPS).sqrt_()
        noise = standard_normal(deviation)
        if mean.dtype == noise.dtype:
            out = mean.addcmul_(deviation, noise)
        else:
            out = torch.addcmul(mean.to(noise.dtype), deviation, noise).to(mean.dtype)
        ctx.save_for_backward(x, theta, sigma2, mask, noise.div_(deviation))
        ctx.product = product
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        x, theta, sigma2, mask, slope = ctx.saved_tensors
        to_x, to_theta, to_sigma, to_bias = ctx.needs_input_grad[:4]
        x_grad, theta_grad, bias_grad = ctx.product.backward(grad, x, theta, [to_x, to_theta, to_bias])
        if mask is not None and to_theta:
            theta_grad.mul_(mask)
        # slope is twice d out / d variance; d x^2 / d x = 2 x takes the half back, d sigma^2 has it below
        grad = (grad * slope).to(x.dtype)
        square_grad, sigma_grad, _ = ctx.product.backward(grad, x * x, sigma2.to(x.dtype), [to_x, to_sigma, False])
        if to_x:
            x_grad = x_grad.addcmul_(x, square_grad)
        if to_sigma:
            sigma_grad = sigma_grad.to(sigma2.dtype).mul_(sigma2).mul_(0.5)
        return x_grad, theta_grad, sigma_grad, bias_grad, None, None


def standard_normal(like: Tensor) -> Tensor:
    """Noise in the shape and memory format of `like`, from torch's global generator."""
    noise = torch.empty_like(like)
    dense = noise if noise.is_contiguous() or noise.dim() != 4 else noise.permute(0, 2, 3, 1)
    dense.normal_()  # four times faster on the CPU where it sees the memory in order, as it does not in channels_last
    return noise
