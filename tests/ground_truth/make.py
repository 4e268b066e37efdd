"""Trains all 256 networks of the ground truth, three seeds each, into digits_resnet_4x4.csv beside this file.

    OMP_NUM_THREADS=1 python -m tests.ground_truth.make              about 12 minutes on one core (0.9 s a training)

Every finished training is a line; a run that was stopped goes on behind the last one.
"""

import itertools
import time

import torch

from src.graph.channel_graph import channel_graph
from src.graph.cost import CostPolynomial, cost_polynomial
from src.runtime.build import network_from
from tests.ground_truth.table import BINS, PATH
from tests.ground_truth.training import BASE, EPOCHS, INPUT_SHAPE, VAL_FRACTION, digits_data, trained_errors

SEEDS = (0, 1, 2)
GROUPS = ("stem", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2")
_COLUMNS = [*(f"bins{index}" for index in range(len(GROUPS))), "seed", "macs", "params", "val_error", "test_error"]
HEADER = (
    "# errors in percent of all widths of a small residual network on scikit-learn's digits, each trained from "
    "scratch\n"
    "# made by: python -m tests.ground_truth.make\n"
    f"# model: {BASE['_target_']}(blocks={BASE['blocks']}, channels={BASE['channels']}, in_channels=1),"
    " images 1 x 8 x 8\n"
    f"# bins: quarters of the channels of the groups {', '.join(GROUPS)}\n"
    f"# training: {EPOCHS} epochs, batch 64, SGD (lr 0.1, Nesterov momentum 0.9, weight decay 5e-4), cosine with "
    "warm-up 0.1, crop 1\n"
    f"# data: 449 test images; of the other 1348 the share {VAL_FRACTION} for validation (data.val_fraction), split of "
    "data.seed=0\n"
    f"{','.join(_COLUMNS)}\n"
)


def full_widths() -> tuple[dict[str, int], CostPolynomial]:
    """The channels of each group at full width, and what widths cost."""
    graph = channel_graph(network_from(BASE), INPUT_SHAPE)
    widths = {group.name: group.width for group in graph.free}
    assert tuple(widths) == GROUPS, f"the channel graph names its groups {tuple(widths)}"
    return widths, cost_polynomial(graph)


def finished() -> int:
    """How many trainings the file holds; a line that was cut off is taken out."""
    if not PATH.exists():
        PATH.write_text(HEADER)
    text = PATH.read_text()
    if not text.startswith(HEADER):
        raise SystemExit(f"{PATH.name} was made in another way; move it away to make it anew")
    whole = text[: text.rfind("\n") + 1]
    PATH.write_text(whole)
    return len(whole[len(HEADER) :].splitlines())


def main() -> None:
    torch.set_num_threads(1)
    full, costs = full_widths()
    data = digits_data()
    jobs = list(itertools.product(SEEDS, itertools.product(range(1, BINS + 1), repeat=len(GROUPS))))
    done, began = finished(), time.perf_counter()
    left = len(jobs) - done
    print(f"{left} of {len(jobs)} trainings to do, about {left * 0.9 / 60:.0f} min", flush=True)
    with PATH.open("a") as file:
        for number, (seed, bins) in enumerate(jobs[done:], start=1):
            widths = {name: full[name] * count // BINS for name, count in zip(GROUPS, bins, strict=True)}
            errors = trained_errors(widths, data, seed)
            costed = [int(costs.macs(widths)), int(costs.params(widths))]
            print(*bins, seed, *costed, f"{errors.val:.4f}", f"{errors.test:.4f}", sep=",", file=file, flush=True)
            if number % 32 == 0:
                minutes = (time.perf_counter() - began) / number * (left - number) / 60
                print(f"{done + number} of {len(jobs)}, {minutes:.1f} min left", flush=True)


if __name__ == "__main__":
    main()
