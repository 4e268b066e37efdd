"""How long the exact MACs and parameters of 10,000 sub-nets take, against counting them in networks that are built.

python -m tests.benchmarks.subnet_costs
"""

import statistics
import time

import numpy as np
import torch

from src.networks.cascade_macs import counted_macs
from src.networks.elastic_mobile.families import FAMILIES
from src.runtime.build import network_from
from src.spaces.subnet_space import SubnetSpace
from tests.networks.mobile import counted

SUPERNET = "src.networks.elastic_mobile.supernet.ElasticSupernet"
ROWS, REPEATS, BUILT = 10_000, 5, 5


def main() -> None:
    torch.set_num_threads(1)
    for family in FAMILIES:
        space = SubnetSpace({"_target_": SUPERNET, "space": family}, (3, 32, 32))
        rows = space.uniform(ROWS, np.random.default_rng(0))
        table = _median(lambda: space.macs_of(rows), REPEATS)  # noqa: B023
        drawn = _median(lambda: space.uniform(ROWS, np.random.default_rng(0)), REPEATS)  # noqa: B023
        configs = [space.config(space.genotype(row)) for row in rows[:BUILT]]
        ran, traced = [], []
        for config, macs in zip(configs, space.macs_of(rows[:BUILT]).tolist(), strict=True):
            began = time.perf_counter()
            assert counted(config, (3, 32, 32))[0] == macs
            ran.append(time.perf_counter() - began)
            began = time.perf_counter()
            with torch.device("meta"):
                network = network_from(config)
            assert counted_macs(network, (3, 32, 32)) == macs
            traced.append(time.perf_counter() - began)
        one = table / ROWS
        print(
            f"{family}: {ROWS:,} rows of {len(space.alphabet)} genes in {1e3 * table:.1f} ms, drawn in "
            f"{1e3 * drawn:.1f} ms; one network built on the meta device and counted by torch in "
            f"{1e3 * statistics.median(ran):.0f} ms ({statistics.median(ran) / one:,.0f} times as long), by its graph "
            f"in {1e3 * statistics.median(traced):.0f} ms ({statistics.median(traced) / one:,.0f} times)"
        )


def _median(run, repeats: int) -> float:
    """Seconds of `run`."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
