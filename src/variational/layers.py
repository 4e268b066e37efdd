"""Convolution and linear layers whose weights are Gaussian, q(w) = N(theta, sigma^2), each weight for itself.

Trained with local reparameterisation (Kingma et al. 2015, https://arxiv.org/abs/1506.02557; Molchanov et al. 2017): not
the weights are drawn but the outputs, with the mean and the variance that the weights give them,

    out = conv(x, theta) + bias + sqrt(conv(x^2, sigma^2) + 1e-8) eps,   eps ~ N(0, 1)

so that each example has noise of its own. At each position of a convolution the weights are drawn anew: mean and
variance are exact, the covariance between positions is dropped. The bias has no noise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import check_choice, check_range
from src.variational import kl
from src.variational.local_draw import LocalDraw
from src.variational.products import Convolution, MatrixProduct

NOISES = ("weights", "local")


class VariationalLayer:
    """What variational layers share; a mixin before `nn.Conv2d` or `nn.Linear`, whose `weight` is theta.

    Attributes:
        log_sigma2: parameter of the shape of `weight`.
        kept: bool buffer of that shape: False for weights that `freeze` has removed for good.
        threshold: a weight is live while log alpha is below it.
        noisy: in training mode, whether the outputs are drawn; if not, the layer is a plain one with weight * kept.
        sampled: in evaluation mode, what is drawn. None: nothing, the weights are theta where live and 0 elsewhere.
            "weights": the live weights, once for the whole batch. "local": the outputs, as in training.
    """

    like_weight = ("log_sigma2", "kept")  # what src.graph resizes along with the weight

    weight: Tensor
    log_sigma2: nn.Parameter
    kept: Tensor
    threshold: float
    noisy: bool
    sampled: str | None

    def _become_variational(self, log_sigma2: float, threshold: float) -> None:
        check_range("init_log_sigma2", log_sigma2)
        self.threshold = float(check_range("threshold", threshold))
        self.log_sigma2 = nn.Parameter(torch.full_like(self.weight, log_sigma2, requires_grad=True))
        self.register_buffer("kept", torch.ones_like(self.weight, dtype=torch.bool, requires_grad=False))
        self.noisy, self.sampled = True, None
        self._seen = (None, 0, True)  # the buffer `kept` and its version when it was last looked at, whether all True

    def log_alpha(self) -> Tensor:
        """log(sigma^2 / theta^2) of each weight."""
        return kl.log_alpha(self.weight, self.log_sigma2)

    @torch.no_grad()
    def live(self) -> Tensor:
        """Which weights count: kept, with log alpha below the threshold; bool, of the shape of `weight`."""
        return self.kept & (self.log_alpha() < self.threshold)

    @torch.no_grad()
    def freeze(self) -> None:
        """Removes for good the weights that are not live now."""
        self.kept.copy_(self.live())

    def _mask(self) -> Tensor | None:
        """`kept`, or None while all weights are: to multiply large matrices by it costs as much as their product.

        Looked at once for each change of the buffer, since the answer has to come from the device.
        """
        if self.kept.is_meta:
            return None
        if torch.compiler.is_compiling():
            return self.kept
        buffer, version, whole = self._seen
        if buffer is not self.kept or version != self.kept._version:
            whole = bool(self.kept.all())
            self._seen = (self.kept, self.kept._version, whole)
        return None if whole else self.kept

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _drawn_outputs(self, x: Tensor, theta: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mask, drawn = self._mask(), "local" if self.noisy else None
        else:
            mask, drawn = self.live(), self.sampled
        if drawn is None:
            return self._product(x, self.weight if mask is None else self.weight * mask, self.bias)
        if check_choice("sampled", drawn, NOISES) == "weights":
            noise = torch.randn_like(self.weight) * (0.5 * self.log_sigma2).exp()
            return self._product(x, (self.weight + noise) * mask, self.bias)
        kind = x.device.type
        if not torch.is_autocast_enabled(kind):
            return self._drawn_outputs(x, self.weight, mask, self.bias)
        # half floats have the range neither for x^2 nor for sigma^2
        dtype = torch.get_autocast_dtype(kind) if torch.get_autocast_dtype(kind) != torch.float16 else torch.float32
        bias = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast(kind, enabled=False):
            return self._drawn_outputs(x.to(dtype), self.weight.to(dtype), mask, bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, threshold={self.threshold:g}"


class VariationalConv2d(VariationalLayer, nn.Conv2d):
    """`nn.Conv2d` with Gaussian weights: (B, in_channels, H, W) -> (B, out_channels, H', W').

    Args:
        log_sigma2: where log sigma^2 starts.
        threshold: on log alpha, of a live weight.
        Others are those of `nn.Conv2d`.
    """

    def __init__(self, *args, log_sigma2: float = -10.0, threshold: float = 3.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._become_variational(log_sigma2, threshold)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._conv_forward(x, weight, bias)

    def _drawn_outputs(self, x: Tensor, theta: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=mode), (0, 0)
        product = Convolution(self.stride, padding, self.dilation, self.groups)
        batch = x if x.dim() == 4 else x.unsqueeze(0)
        out = LocalDraw.apply(batch, theta, self.log_sigma2, bias, mask, product)
        return out if x.dim() == 4 else out.squeeze(0)


class VariationalLinear(VariationalLayer, nn.Linear):
    """`nn.Linear` with Gaussian weights: (..., in_features) -> (..., out_features)."""

    def __init__(self, *args, log_sigma2: float = -10.0, threshold: float = 3.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._become_variational(log_sigma2, threshold)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def _drawn_outputs(self, x: Tensor, theta: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        out = LocalDraw.apply(x.reshape(-1, x.shape[-1]), theta, self.log_sigma2, bias, mask, MatrixProduct())
        return out.reshape(*x.shape[:-1], self.out_features)
