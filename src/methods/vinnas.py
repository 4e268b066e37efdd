"""VINNAS: variational dropout that drops operations (Ferianc et al. 2020, https://arxiv.org/abs/2007.06103).

Every operation of every edge is multiplied by a Gaussian z ~ N(theta, sigma^2), shared by the cells of one type, and
every weight is Gaussian too. Both have an ARD prior, whose divergence 0.5 log(1 + theta^2 / sigma^2) is cheap where the
noise outweighs the mean: what the data does not speak for drowns in noise, and is dropped. The objective, in nats an
image, is

    cross entropy + gamma_w / N KL(weights) + gamma_z / N KL(z)                       (section 6 of the specification)

Of the paper the abstract and summaries were at hand, not its body: schedules, constants, sizes and the rule of
derivation are named fields of conf/method/vinnas.yaml, and none of them is the paper's word.
"""

from typing import Any

import torch
from torch import Tensor

from src.errors import UserError, check_choice, check_flag, check_range
from src.methods.cell_search import CellSearch
from src.networks.cell_operations import PARAMETER_FREE
from src.runtime.seeds import seeded
from src.variational.gates import StructuralGates, drawn
from src.variational.kl import KLS, log_alpha
from src.variational.selection import RANKS

NOISES = ("example", "scalar", "lrt")
NORMALISATIONS = (None, "softmax")


class Vinnas(CellSearch):
    """Holds the posterior of the gates; `DropoutPruning` moves it and drops operations.

    Args:
        noise: of a gate: "example": one draw an image, "scalar": one a step, "lrt": the mean and variance of the sum,
            with noise for each activation (local reparameterisation).
        normalise: "softmax": over the operations of an edge, to compare with DARTS; None.
        rank: what a derivation goes by: "snr", "snr_plus" or "mean_abs".
        init_theta, init_log_sigma2: of the posterior; None: 1 / number of operations.
        warmup_free: whether shortcuts and pools take part in the warm-up. They are of use before any weight has learnt,
            and a very short search may end with little else; without them the others learn to do the work first.
        threshold: of log alpha, from which on an operation is noise.
        kl: "ard" or "sparse_vd".
        entropy_weight: of the mean entropy of |theta| over the operations of an edge: the larger, the more each edge
            is driven to one operation.
        base, input_shape, settings: as `CellSearch` has them.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        noise: str = "example",
        normalise: str | None = None,
        rank: str = "snr",
        init_theta: float | None = None,
        init_log_sigma2: float = -6.0,
        warmup_free: bool = True,
        threshold: float = 3.0,
        kl: str = "ard",
        entropy_weight: float = 0.0,
        **settings,
    ) -> None:
        self.noise = check_choice("method.structure.noise", noise, NOISES)
        self.normalise = normalise
        if normalise not in NORMALISATIONS:
            raise UserError(f"method.structure.normalise={normalise!r} is not allowed; it must be softmax or null")
        if normalise and noise == "lrt":
            raise UserError("method.structure.normalise=softmax needs noise of the gates themselves: example or scalar")
        self.rank = check_choice("method.derivation.rank", rank, tuple(RANKS))
        if init_theta is not None:
            check_range("method.structure.init_theta", init_theta, -100, 100)
        check_range("method.structure.init_log_sigma2", init_log_sigma2, -50, 20)
        self._threshold = check_range("method.structure.threshold", threshold, -10, 20)
        self.warmup_free = check_flag("method.structure.warmup_free", warmup_free)
        self.kl = check_choice("method.structure.kl", kl, tuple(KLS))
        self.entropy_weight = check_range("method.structure.entropy_weight", entropy_weight, 0, 100)
        super().__init__(base, input_shape, **settings)
        shape = (2, len(self.space.edges), len(self.space.operations))
        theta = 1 / shape[2] if init_theta is None else init_theta
        joint = self.mode == "joint"
        self.gates = StructuralGates(shape, theta, init_log_sigma2, trainable=joint, threshold=threshold)
        free = [number for number, name in enumerate(self.space.operations) if name in PARAMETER_FREE]
        self._free = free if len(free) < shape[2] else []  # a space of nothing else has no others to wait for
        self.gamma = 0.0  # of KL(z), nats an image: `DropoutPruning` raises it
        self.noisy = False  # whether gates are drawn, or stand at their means

    @property
    def threshold(self) -> float:
        return self._threshold

    # gates

    def gate_values(self, batch: int) -> tuple[Tensor, Tensor | None]:
        return self._values(self.gates.theta, self.gates.log_sigma2, batch)

    def _values(self, theta: Tensor, log_sigma2: Tensor, batch: int) -> tuple[Tensor, Tensor | None]:
        live = self.gates.live
        if not self.noisy:
            return self._normalised(torch.where(live, theta, 0)), None
        if self.noise == "lrt":
            return torch.where(live, theta, 0), torch.where(live, log_sigma2.exp(), 0)
        return self._normalised(drawn(theta, log_sigma2, live, self.noise, batch)), None

    def _normalised(self, gates: Tensor) -> Tensor:
        if self.normalise is None:
            return gates
        # an edge without a live operation has nothing to share out
        live = self.gates.live
        softmax = gates.masked_fill(~live & live.any(dim=2, keepdim=True), -torch.inf).softmax(dim=-1)
        return torch.where(live, softmax, 0)

    def mean_gates(self) -> Tensor:
        return self._normalised(self.gates.means().detach())

    def scores(self) -> Tensor:
        return RANKS[self.rank](self.gates.theta, (0.5 * self.gates.log_sigma2).exp())

    def log_alpha(self) -> Tensor:
        return self.gates.log_alpha()

    def live(self) -> Tensor:
        return self.gates.live

    def running(self) -> Tensor:
        live = self.live()
        if not self.noisy and not self.warmup_free:
            live = live.clone()
            live[:, :, self._free] = False
        return live

    # what moves them

    def structure_penalty(self, theta: Tensor, log_sigma2: Tensor) -> Tensor:
        """gamma_z / N KL(z) over what is live, and the entropy term: a function of the gates alone, nats an image."""
        live = self.gates.live
        divergence = KLS[self.kl](log_alpha(theta, log_sigma2))
        penalty = self.gamma * torch.where(live, divergence, 0).sum()
        if self.entropy_weight:
            share = torch.where(live, theta.abs(), 0)
            share = share / share.sum(dim=2, keepdim=True).clamp_min(1e-12)
            penalty = penalty + self.entropy_weight * torch.special.entr(share).sum(dim=2).mean()
        return penalty

    def structure_state(self) -> dict[str, Tensor]:
        return dict(self.gates.state_dict())

    def architecture_tensors(self) -> list[tuple[Tensor, float]]:
        """What architecture steps move, each with a factor for its rate; log sigma^2 has the longer way to go."""
        return [(self.gates.theta, 1.0), (self.gates.log_sigma2, self.log_sigma2_rate)]

    log_sigma2_rate = 1.0  # `DropoutPruning` knows it

    def architecture_loss(self, batch: tuple[Tensor, Tensor], theta: Tensor, log_sigma2: Tensor, step: int) -> Tensor:
        """The objective of the structure on images of its own, differentiable in the posterior."""
        with seeded(self.seed, "architecture", step, self.global_rank):
            loss = self.structure_loss(batch, *self._values(theta, log_sigma2, len(batch[0])))
        return loss + self.structure_penalty(theta, log_sigma2)

    def phase(self) -> str:
        share = f"{int(self.gates.live.sum())} of {self.gates.live.numel()} operations left"
        return f"searching, {share}" if self.noisy else f"warming up, {share}"
