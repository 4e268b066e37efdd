"""Local reparameterisation as one differentiable operation, which is what makes a variational step cheap.

mean = P(x, theta) + bias, variance = P(x^2, sigma^2), out = mean + sqrt(variance + 1e-8) eps, for a product P that is
linear in both (a convolution, a matrix product). Left to autograd it keeps x^2, the variance, its root and eps, and
passes over each of them again; here x and eps / sqrt(variance + 1e-8) are all that is kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from src.variational.products import Product

EPS = 1e-8  # under the root: where the variance is 0, out has noise of 1e-4


class LocalDraw(torch.autograd.Function):
    """out(x, theta, log_sigma2, bias, mask, product); weights where the bool `mask` is False count as 0.

    x, theta and bias have the type in which the product is computed; log_sigma2, the root and the noise are float32 (or
    float64) whatever that is. mask: None where there is nothing to mask.
    """

    @staticmethod
    def forward(ctx: Any, x, theta, log_sigma2, bias, mask, product: Product) -> Tensor:
        sigma2 = log_sigma2.exp()
        if mask is not None:
            theta, sigma2 = theta * mask, sigma2.mul_(mask)
        mean, variance = product.moments(x, theta, sigma2.to(x.dtype), bias)
        deviation = variance.to(log_sigma2.dtype)
        if deviation.is_cuda:  # whose Winograd convolutions may give sums of squares a little below 0
            deviation.clamp_min_(0.0)
        deviation.add_(EPS).sqrt_()
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
        needs = ctx.needs_input_grad[:4]
        # slope is twice d out / d variance; d x^2 / d x = 2 x takes the half back, d sigma^2 has it below
        variance_grad = (grad * slope).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # which is on where backward is called inside it
            x_grad, square_grad, theta_grad, sigma_grad, bias_grad = ctx.product.moments_backward(
                x, theta, sigma2.to(x.dtype), grad, variance_grad, needs
            )
        if needs[0]:
            x_grad = x_grad.addcmul_(x, square_grad)
        if needs[1] and mask is not None:
            theta_grad = theta_grad * mask
        if needs[2]:
            sigma_grad = (sigma_grad.to(sigma2.dtype) * sigma2).mul_(0.5)
        return x_grad, theta_grad, sigma_grad, bias_grad, None, None


def standard_normal(like: Tensor) -> Tensor:
    """Noise in the shape and memory format of `like`, from torch's global generator."""
    noise = torch.empty_like(like)
    dense = noise if noise.is_contiguous() or noise.dim() != 4 else noise.permute(0, 2, 3, 1)
    dense.normal_()  # four times faster on the CPU where it sees the memory in order, as it does not in channels_last
    return noise
