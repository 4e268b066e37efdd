"""How long the draw of a super-net step takes: a row of widths and two candidates, of ResNet-50's 37 groups.

python -m tests.benchmarks.width_draws
"""

import statistics
import time

import torch

from src.elastic.sharing import LocallyFreeSharing
from src.runtime.seeds import keyed_generator
from src.spaces.bin_space import BinSpace

STEPS = 4000


def main() -> None:
    torch.set_num_threads(1)
    space = BinSpace({"_target_": "torchvision.models.resnet50"}, (3, 224, 224))
    for options in ({"offset": 1}, {"offset": 2}, {"offset": 8, "unit": "channel"}):
        sharing = LocallyFreeSharing(space.edges, space.multiples, **options)
        seconds = []
        for step in range(STEPS):
            began = time.perf_counter()
            generator = keyed_generator(0, "width", step)
            sharing.draw(space.grid.uniform(1, generator)[0].tolist(), 2, generator)
            seconds.append(time.perf_counter() - began)
        first, later = (1e3 * statistics.fmean(part) for part in (seconds[:100], seconds[STEPS // 2 :]))
        print(f"{len(space.names)} groups, {options}: {first:.2f} ms in the first 100 steps, {later:.2f} ms later")


if __name__ == "__main__":
    main()
