"""How many width vectors a second the cost polynomial of ResNet-50 evaluates on one core.

python -m tests.benchmarks.cost_polynomial
"""

import time

import torch
import torchvision

from src.graph.channel_graph import channel_graph
from src.graph.cost import cost_polynomial

VECTORS = 100_000


def main() -> None:
    torch.set_num_threads(1)
    graph = channel_graph(torchvision.models.resnet50(), (3, 224, 224))
    costs = cost_polynomial(graph)
    widths = torch.randint(8, 512, (VECTORS, len(graph.free)), generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        costs.macs(widths)
        seconds.append(time.perf_counter() - began)
    one = costs.vector([graph.widths()])[0]
    began = time.perf_counter()
    for _ in range(1000):
        costs.macs(one)
    single = (time.perf_counter() - began) / 1000
    median = sorted(seconds)[len(seconds) // 2]
    print(f"ResNet-50, {len(graph.free)} widths, one core: {VECTORS / median:,.0f} width vectors a second in a batch")
    print(f"one by one: {1 / single:,.0f} a second, {single * VECTORS / median:.0f} times slower than in a batch")


if __name__ == "__main__":
    main()
