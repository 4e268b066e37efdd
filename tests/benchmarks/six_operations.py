"""Whether gates find the two operations of six that make the target, and settle where theory says.

python -m tests.benchmarks.six_operations

log alpha of the relevant ones settles at log(g s^2 / E[o^2] / theta^2), g the weight of the KL, s the noise of the
target; the others end above the threshold of 3 if g is not too small (T7 of the specification).
"""

import time

import torch

from tests.variational.toys import OPERATIONS, fixed_points, six_operations


def main() -> None:
    torch.set_num_threads(1)
    print("theta and log alpha of " + ", ".join(OPERATIONS))
    for scale in (0.01, 0.1, 1e-4):
        print(f"g={scale:g}: fixed points " + ", ".join(f"{value:.2f}" for value in fixed_points(scale)))
        for noise in ("scalar", "example", "lrt"):
            began = time.process_time()
            found = six_operations(scale, noise)
            theta, alpha = (" ".join(f"{value:6.2f}" for value in values) for values in found)
            print(f"  {noise:<8} theta {theta}   log alpha {alpha}   {time.process_time() - began:4.1f} s", flush=True)


if __name__ == "__main__":
    main()
