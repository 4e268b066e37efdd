"""Which weights of a linear layer variational dropout keeps, where 10 of 2,500 are of use and the data are fewer.

python -m tests.benchmarks.linear_teacher

Beside each setting stands what the specification measured (T6).
"""

import time

import torch

from tests.variational.toys import linear_teacher

RUNS = (
    ({"scale": 1.0}, "10 kept, all relevant, MSE 0.000"),
    ({"scale": 1.0, "kl": "sparse_vd"}, "10 kept, all relevant, MSE 0.000"),
    ({"scale": 0.1}, "34 kept, 10 relevant"),
    ({"scale": 0.1, "kl": "sparse_vd"}, "31 kept, 10 relevant"),
    ({"scale": 0.1, "steps": 10000}, "10 kept, 10 relevant"),
    ({"scale": 0.01}, "882 kept, 10 relevant"),
    ({"scale": 0.01, "kl": "sparse_vd"}, "856 kept, 10 relevant"),
    ({"scale": 0.1, "log_sigma2": -5.0}, "1513 kept, MSE .49"),
    ({"scale": 0.1, "dense_steps": 0}, "94 kept"),
)


def main() -> None:
    torch.set_num_threads(1)
    for options, expected in RUNS:
        began = time.process_time()
        found = linear_teacher(**options)
        told = ", ".join(f"{name}={value}" for name, value in options.items())
        print(
            f"{told:<32} kept {found.kept:5d}, relevant {found.relevant:2d}, test MSE dense {found.dense_mse:.2f}, "
            f"pruned {found.pruned_mse:.4f}, {time.process_time() - began:4.1f} s   (specification: {expected})",
            flush=True,
        )


if __name__ == "__main__":
    main()
