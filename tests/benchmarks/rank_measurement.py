"""Rank measurement of ResNet-34 at full CIFAR width: batched spectra and noise search against SVD layer by layer.

    python -m tests.benchmarks.rank_measurement                 # about one minute
    python -m tests.benchmarks.rank_measurement --width 16      # seconds: stages of 16, 32, 64, 128 channels

All sides measure the 72 unfoldings of the 36 convolutions in one process with the same number of threads. The slow
sides do what the published code does, on the short side and free of scale so that the ranks can be compared: a singular
value decomposition with its singular vectors, then a scalar minimiser from scipy. "Full" computes all of U and V (the
default of torch.linalg.svd), "reduced" only the min(rows, columns) leading vectors. The batched side works in float64.

Exits with 1 if a rank differs or, at full width, if the batched side is less than 20 times faster than full SVD in the
same precision. One thread is the default because its times hold on a busy machine too: LAPACK threads that wait for
each other on a core that another process uses make every side, the batched one included, ten times slower and more.
"""

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from src.lowrank.metrics import measure

BLOCKS = (3, 4, 6, 3)
REQUIRED_RATIO = 20.0
FULL_WIDTH = 64


def resnet34_weights(width: int) -> dict[str, Tensor]:
    """The 36 convolution weights at default initialisation; two of three carry a low-rank signal as after training."""
    torch.manual_seed(0)
    shapes = [(width, 3, 3)]
    before = width
    for stage, blocks in enumerate(BLOCKS):
        after = width * 2**stage
        for block in range(blocks):
            shapes += [(after, before if block == 0 else after, 3), (after, after, 3)]
            if block == 0 and stage > 0:
                shapes.append((after, before, 1))
        before = after
    weights = {}
    for index, (outputs, inputs, kernel) in enumerate(shapes):
        weight = torch.nn.Conv2d(inputs, outputs, kernel, bias=False).weight.detach()
        if index % 3:
            weight = weight + low_rank_signal(weight, rank=1 + index % 7)
        weights[f"conv{index}"] = weight
    return weights


def low_rank_signal(weight: Tensor, rank: int) -> Tensor:
    """A sum of `rank` separable kernels, each well above the noise of `weight` in both unfoldings."""
    outputs, inputs, height, width = weight.shape
    rank = min(rank, outputs // 4, inputs // 4)
    left, right = (torch.linalg.qr(torch.randn(size, rank)).Q for size in (outputs, inputs))
    kernel = torch.nn.functional.normalize(torch.randn(rank, height * width), dim=1)
    longest = max(outputs * inputs * height * width / min(outputs, inputs), 1)
    strength = weight.std() * (math.sqrt(max(outputs, inputs)) + math.sqrt(longest)) * torch.linspace(3, 1.5, rank)
    return torch.einsum("r,or,ir,rk->oik", strength, left, right, kernel).view_as(weight)


def rank_by_svd(weight: Tensor, side: str, full: bool) -> int:
    """The EVBMF rank of one unfolding: SVD with its vectors, bounded scalar minimisation of the free energy."""
    matrix = (weight.transpose(0, 1) if side == "in" else weight).reshape(weight.shape[side == "in"], -1)
    s = torch.linalg.svd(matrix, full_matrices=full).S.double().numpy()
    rows, columns = sorted(matrix.shape)
    alpha = rows / columns
    tau_threshold = 2.5129 * math.sqrt(alpha)
    threshold = (1 + tau_threshold) * (1 + alpha / tau_threshold)
    power = s**2 * rows / (s**2).sum()
    ceiling = math.ceil(rows * columns / (rows + columns)) - 1
    lower = max(power[ceiling] / threshold, power[ceiling:].mean())

    def free_energy(v: float) -> float:
        x = power / v
        noise, signal = x[x <= threshold], x[x > threshold]
        shifted = signal - (1 + alpha)
        tau = 0.5 * (shifted + np.sqrt(shifted**2 - 4 * alpha))
        kept = signal - tau + np.log((tau + 1) / signal) + alpha * np.log(tau / alpha + 1)
        return (noise - np.log(noise)).sum() + kept.sum()

    v = minimize_scalar(free_energy, bounds=(min(lower, 1.0), 1.0), method="bounded").x if rows > 1 else 1.0
    return int((power > v * threshold).sum())


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def main() -> int:
    parser = argparse.ArgumentParser(description="Rank measurement of ResNet-34, batched against SVD layer by layer.")
    parser.add_argument("--width", type=int, default=FULL_WIDTH, help="channels of the first stage (default: 64)")
    parser.add_argument("--threads", type=int, default=1, help="threads of all sides (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = resnet34_weights(arguments.width)

    first, found = timed(lambda: measure(weights))
    batched = statistics.median(timed(lambda: measure(weights))[0] for _ in range(5))
    print(
        f"{len(weights)} convolutions, {len(found)} unfoldings, {arguments.threads} threads, torch {torch.__version__}"
    )
    print(f"batched, float64          {batched:8.3f} s   (median of 5; the first call took {first:.3f} s)", flush=True)
    good = True
    for full, precision in itertools.product((True, False), (torch.float64, torch.float32)):
        cast = {name: weight.to(precision) for name, weight in weights.items()}
        slow, ranks = timed(lambda: {key: rank_by_svd(cast[key[0]], key[1], full) for key in found})  # noqa: B023
        name = f"{'full' if full else 'reduced'} SVD, {str(precision).removeprefix('torch.')}"
        wrong = {key: (entry.rank_count, ranks[key]) for key, entry in found.items() if entry.rank_count != ranks[key]}
        agreement = f"ranks differ (batched, SVD): {wrong}" if wrong else "same ranks"
        print(f"{name:25s} {slow:8.3f} s   ratio {slow / batched:6.1f}   {agreement}", flush=True)
        required = REQUIRED_RATIO if full and precision == torch.float64 and arguments.width == FULL_WIDTH else 0.0
        good = good and not wrong and slow / batched >= required
    print(f"ranks from {min(ranks.values())} to {max(ranks.values())}, sum {sum(ranks.values())}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
