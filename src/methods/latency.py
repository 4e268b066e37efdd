"""The latency of a network on the device at hand: measured, never guessed."""

import statistics
import time

import torch
from torch import nn

from src.errors import check_whole

_WARM_UP = 3  # passes before the first that counts


class LatencyProbe:
    """Milliseconds of a forward pass: the median of `repeats` passes of `batch` images.

    It holds for this device, this number of threads, and no other work on it: processes that share a CPU measure each
    other too.
    """

    def __init__(self, batch: int = 1, repeats: int = 20) -> None:
        self.batch = check_whole("method.latency_batch", batch, 1, 2**16)
        self.repeats = check_whole("method.latency_repeats", repeats, 1)

    @torch.no_grad()
    def measure(self, network: nn.Module, input_shape: tuple[int, int, int], device: torch.device) -> float:
        """Of `network` in evaluation mode, for images (C, H, W)."""
        network = network.eval().to(device)
        images = torch.zeros(self.batch, *input_shape, device=device)
        taken = []
        for _ in range(_WARM_UP + self.repeats):
            began = time.perf_counter()
            network(images)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - began)
        return 1e3 * statistics.median(taken[_WARM_UP:])
