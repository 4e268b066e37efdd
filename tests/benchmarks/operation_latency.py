"""How far the sum of the latencies of operations is from the latency of whole networks, on this machine.

python -m tests.benchmarks.operation_latency
python -m tests.benchmarks.operation_latency --model hournas_f --size 224 --networks 12
python -m tests.benchmarks.operation_latency --device cuda --batch 32

Random genotypes, uniform in MACs over what the space can reach, are measured by the probe that fills the table. Told
are the ratio measured / summed and how well the sum orders networks; that of the MACs stands beside it.
"""

import argparse
import time

import torch
from scipy.stats import kendalltau, pearsonr

from src.methods.latency import LatencyProbe
from src.methods.operation_latency import with_latency
from src.runtime.build import network_from
from src.runtime.seeds import keyed_generator
from src.spaces.operation_space import OperationSpace
from tests.networks.mobile import model_config


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="mobile_cifar")
    options.add_argument("--size", type=int, default=32)
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--networks", type=int, default=20)
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    device, shape = torch.device(chosen.device), (3, chosen.size, chosen.size)
    space = OperationSpace(model_config(chosen.model, 10), shape)
    probe = LatencyProbe(chosen.batch, chosen.repeats)
    began = time.perf_counter()
    table = with_latency(space, probe, device)
    print(f"{chosen.model}, {shape}, batch {chosen.batch}, {device}: table in {time.perf_counter() - began:.1f} s")
    least, most = space.reachable()
    rows = []
    for number in range(chosen.networks):
        step = (most - least) / chosen.networks
        band = (least + number * step, least + (number + 1) * step)
        genotype = space.sample(1, keyed_generator(0, number), band)[0]
        summed = table.of(space.choice(genotype))[2].item()
        measured = probe.measure(network_from(space.config(genotype)), shape, device)
        rows.append((space.macs(genotype) / 1e6, summed, measured))
        print(f"  {rows[-1][0]:8.2f} M MACs   summed {summed:8.3f} ms   measured {measured:8.3f} ms", flush=True)
    macs, summed, measured = torch.tensor(rows, dtype=torch.float64).T
    ratios = (measured / summed).sort().values
    print(f"  measured / summed: median {ratios.median():.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}")
    for name, column in (("summed latency", summed), ("MACs", macs)):
        pearson, kendall = pearsonr(column, measured)[0], kendalltau(column, measured)[0]
        print(f"  {name} against measured latency: Pearson {pearson:.3f}, Kendall {kendall:.3f}")


if __name__ == "__main__":
    main()
