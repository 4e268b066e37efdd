"""A super-net of operations in training: in each step one path through it, or a mixture of all (FBNet, GDAS).

Of each block l there are operations o with logits theta_lo. A step draws

    a_lo = softmax_o((theta_lo + g_lo) / tau),   g Gumbel noise                   (FBNet, arXiv 1812.03443, section 3.3)

and trains the weights of the path argmax_o a_lo (hard), or those of all operations, mixed by a (soft). What moves theta
is a step of its own, on images of its own, which a callback makes: `architecture_loss`.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from src.errors import check_choice, check_flag, check_range, check_whole
from src.methods.search_module import SearchModule
from src.networks.frozen_statistics import frozen_statistics
from src.networks.gumbel import gates as gumbel_gates
from src.networks.gumbel import gumbel_noise
from src.runtime.seeds import keyed_generator
from src.spaces.operation_space import OperationSpace

INITS = {"equal": 0.0, "normal": 1e-3}  # standard deviation of the first logits


class OperationSearch(SearchModule):
    """Trains the weights of paths through a super-net, and says what a path is worth.

    Args:
        space: (base, input_shape) -> the operations that are searched.
        tau_start, tau_end: temperature in the first and in the last epoch of a stage, geometric between them.
        init: of theta: "equal" (FBNet) or "normal" with standard deviation 1e-3 (ProxylessNAS).
        batch_statistics: whether an architecture step lets batch norms update their running statistics.
        calibration_images: of the training part, from which an evaluated path takes its statistics of batch norms.
        base, input_shape, settings: as `SearchModule` has them.
    """

    unused_parameters = True
    warmup_epochs = 0  # beside those that `ArchitectureSteps` is told

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        space: Callable[[dict[str, Any], tuple[int, int, int]], OperationSpace] = OperationSpace,
        tau_start: float = 5.0,
        tau_end: float = 0.09,
        init: str = "equal",
        batch_statistics: bool = False,
        calibration_images: int = 2000,
        **settings,
    ) -> None:
        self.space = space(base, tuple(input_shape))
        self.tau_start = check_range("method.gumbel.tau_start", tau_start, 1e-3, 1e3)
        self.tau_end = check_range("method.gumbel.tau_end", tau_end, 1e-3, 1e3)
        self.init = check_choice("method.arch.init", init, tuple(INITS))
        self.batch_statistics = check_flag("method.arch.batch_statistics", batch_statistics)
        self.calibration_images = check_whole("method.calibration_images", calibration_images, 2)
        super().__init__(base, input_shape, **settings)
        self.register_buffer("theta", torch.zeros(self.space.costs.allowed.shape))
        self.options: list[list[int]] = []  # the operations of each block of the super-net, as the space numbers them
        self.picked: list[int] | None = None  # the path of the last validation
        self._evaluated: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no part of this module
        self._calibration: list[tuple[Tensor, Tensor]] | None = None

    def set_options(self, options: Sequence[Sequence[int]], key: int) -> None:
        """Makes the super-net with these operations, of fresh weights, and starts theta again, both keyed by `key`."""
        self.options = [list(own) for own in options]
        self.config = self.space.supernet_config([[self.space.operations[o] for o in own] for own in options])
        noise = torch.randn(self.theta.shape, generator=keyed_generator(self.seed, "theta", key))
        self.theta = (INITS[self.init] * noise).to(self.device)

    # theta

    @property
    def allowed(self) -> Tensor:
        """(L, O) bool: the operations of the super-net of today."""
        mask = torch.zeros(self.theta.shape, dtype=torch.bool)
        for block, own in enumerate(self.options):
            mask[block, own] = True
        return mask

    def logits(self, theta: Tensor | None = None) -> Tensor:
        """theta (L, O), with -inf where a block has no such operation; a block that is left out has none: 0."""
        theta = self.theta if theta is None else theta
        allowed = self.allowed.to(theta.device)
        return theta.masked_fill(~allowed & allowed.any(dim=1, keepdim=True), -torch.inf)

    def probabilities(self) -> Tensor:
        """softmax(theta) (L, O) on the CPU; of a block that is left out all 0."""
        return self.logits().softmax(dim=1).cpu() * self.allowed.any(dim=1, keepdim=True)

    def entropy(self) -> float:
        """The mean entropy in nats of the blocks that have a choice."""
        free = self.allowed.sum(dim=1) > 1
        values = torch.special.entr(self.probabilities()).sum(dim=1)
        return float(values[free].mean()) if bool(free.any()) else 0.0

    def tau(self) -> float:
        """The temperature of today: of the last epoch of a stage it is `tau_end`, geometrically."""
        share = self.stage_epoch() / max(self.schedule_epochs() - 1, 1)
        return self.tau_start * (self.tau_end / self.tau_start) ** share

    def stage_epoch(self) -> int:
        """The epoch, counted from the start of the super-net of today."""
        return self.current_epoch

    # steps

    @property
    def hard(self) -> bool:
        """Whether a step runs one operation of each block; else all of them run, mixed."""
        return True

    def drawn(self, index: int) -> tuple[list[Tensor] | None, list[int] | None]:
        """What the weight step on batch `index` trains: gates of each block, or a path."""
        noise = gumbel_noise(self.theta.shape, keyed_generator(self.seed, "path", self.trainer.global_step))
        if self.hard:
            return None, self._path((self.logits().cpu() + noise).argmax(dim=1).tolist())
        return self._local(gumbel_gates(self.logits(), noise.to(self.device), self.tau(), hard=False)), None

    def _path(self, choice: Sequence[int]) -> list[int]:
        """The places of the operations of `choice` among those of each block; 0 for a block that is left out."""
        return [own.index(o) if o in own else 0 for own, o in zip(self.options, choice, strict=True)]

    def _local(self, gates: Tensor) -> list[Tensor]:
        """Gates (L, O) as one (O_l,) a block, in the order of the block's operations."""
        return [gates[block, own] for block, own in enumerate(self.options)]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        loss = self.task.loss(self(images, *self.drawn(index)), targets)
        self._add_loss("train", loss, len(images))
        return loss

    def structure_state(self) -> dict[str, Tensor]:
        """What all ranks must hold alike beside the weights."""
        return {"theta": self.theta}

    def architecture_tensors(self) -> list[tuple[Tensor, float]]:
        """What architecture steps move, each with a factor for its rate."""
        return [(self.theta, 1.0)]

    def architecture_loss(self, batch: tuple[Tensor, Tensor], theta: Tensor, step: int) -> Tensor:
        """The loss of paths that theta draws, differentiable in `theta` (L, O); a weight has no part in it.

        step: number of the architecture step, which keys its noise. The statistics of batch norms stay as they are.
        """
        images, targets = batch
        noise = gumbel_noise(theta.shape, keyed_generator(self.seed, "architecture", step)).to(theta.device)
        gates = gumbel_gates(self.logits(theta), noise, self.tau(), hard=self.hard)
        path = self._path(gates.argmax(dim=1).tolist()) if self.hard else None
        context = self.trainer.precision_plugin.forward_context
        frozen = nullcontext() if self.batch_statistics else frozen_statistics(self.network)
        with context(), frozen:
            # not through the DDP wrapper: nothing is to be accumulated in the gradients of the weights
            return self.task.loss(self.network(self._laid_out(images), self._local(gates), path), targets)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    # what a path is worth

    def calibrated(self, choice: Sequence[int]) -> nn.Module:
        """The stand-alone network of a path, with the weights of the super-net and statistics of its own."""
        network = self.network.extracted(self._path(choice)).to(self.device)
        with self.trainer.precision_plugin.forward_context():
            update_bn(self.calibration_batches(), network, device=self.device)
        return network.eval()

    def calibration_batches(self) -> list[tuple[Tensor, Tensor]]:
        if self._calibration is None:
            self._calibration = self.trainer.datamodule.calibration_batches(self.calibration_images)
        return self._calibration

    @torch.no_grad()
    def error_of(self, choice: Sequence[int], validation: Iterable[tuple[Tensor, Tensor]]) -> float:
        """The error in percent of a path on all batches of `validation`, on this process alone."""
        network, metrics = self.calibrated(choice), self.task.metrics(sync_on_compute=False).to(self.device)
        for images, targets in validation:
            with self.trainer.precision_plugin.forward_context():
                metrics.update(network(self._laid_out(images)), targets)
        return float(metrics.compute()["error"])

    def current_choice(self) -> list[int]:
        """The path that stands for the search of today: the likeliest."""
        return self.logits().argmax(dim=1).tolist()

    def on_validation_start(self) -> None:
        self.picked = self.current_choice()
        self._evaluated = (self.calibrated(self.picked),)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, targets = batch
        outputs = self._evaluated[0](self._laid_out(images))
        self._add_loss("val", self.task.loss(outputs, targets), len(images))
        self.val_metrics.update(outputs, targets)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self._evaluated = ()
