"""How much two ranks gain where they share work: python -m tests.benchmarks.ranks

On a machine with two free cores, each rank with one thread. Work that is shared: the rank measurement of ResNet-34 at
full width (CONet, once an epoch), and the evaluation of eight candidates on 512 images each (`sharded_map`).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPEATS = 3


def work() -> dict[str, float]:
    """Seconds of each kind of work on the ranks of this process, the best of a few."""
    import torch

    from callbacks.rank_measurement import RankMeasurement
    from src.networks.resnet import resnet20, resnet34
    from src.runtime.ranks.sharding import sharded_map

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = resnet34(num_classes=10)
    candidates, images = [resnet20(num_classes=10).eval() for _ in range(8)], torch.randn(512, 3, 32, 32)

    @torch.no_grad()
    def evaluate(candidate: torch.nn.Module) -> float:
        return float(candidate(images).mean())

    kinds = {
        "rank measurement": lambda: RankMeasurement().measure(network),
        "eight candidates": lambda: sharded_map(evaluate, candidates),
    }
    seconds = {}
    for name, run in kinds.items():
        run()
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        seconds[name] = min(times)
    return seconds


def main() -> None:
    alone = work()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.ranks", f"{folder}/store"]
        ranks = [
            subprocess.Popen([*command, str(rank)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for rank in (0, 1)
        ]
        outputs = [process.communicate()[0] for process in ranks]
    for line in outputs[0].splitlines():
        name, together = line.rsplit(" ", 1)
        ratio = alone[name] / float(together)
        print(f"{name}: {alone[name]:.2f} s on one rank, {float(together):.2f} s on two: {ratio:.2f} times")


def rank(store: str, number: int) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    for name, seconds in work().items():
        print(f"{name} {seconds}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rank(sys.argv[1], int(sys.argv[2]))
    else:
        main()
