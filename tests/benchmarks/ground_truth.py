"""Super-nets of every kind of sharing against the ground truth: do their scores rank widths as training does?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.ground_truth            about 20 to 35 minutes on one core
    python -m tests.benchmarks.ground_truth --seeds 1 --only r0 r1       a minute
    python -m tests.benchmarks.ground_truth --report                     the tables of the file, nothing is trained

Every super-net is a line of `--out` (by default the file that the tests keep), and a run that was stopped goes on
behind the last one. Of the test images nothing reaches the scores; regrets are in points of test error.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from src.evolution.grid import Band
from src.evolution.random_search import RandomSearch
from src.evolution.uniform import UniformScaling
from tests.ground_truth.supernet_training import CALIBRATION_IMAGES, K_EVAL, trained_supernet
from tests.ground_truth.supernets import (
    EVALUATIONS,
    MEASURED,
    PATH,
    SHARES,
    VARIANTS,
    Line,
    as_text,
    columns,
    mean_and_sd,
    mean_banded,
    read,
    searched,
)
from tests.ground_truth.table import GroundTruth, ground_truth

EPOCHS = 200  # with r=0 in quarters the mean error of all rows is then that of their own trainings (100: 3 points more)
SEEDS = 5
_REGRETS = ("best", "evolution", "random")  # of the report: by all scores, by searches of 60 of them
HEADER = (
    "# super-nets of CafeNet judged by digits_resnet_4x4.csv, one a line; made by:\n"
    "# python -m tests.benchmarks.ground_truth --seeds {seeds} --epochs {epochs}\n"
    "# tau: Kendall's, of the validation error in the super-net with the trained test error, over all 256 rows, in "
    "bands of MACs and their mean\n"
    "# best, evolution, random: regret in points of test error under 25, 50 and 75 % of the MACs, of the best row and "
    f"of what {EVALUATIONS} evaluations find\n"
    f"# a row is judged by the one of {K_EVAL} candidates with the lowest loss on {CALIBRATION_IMAGES} training "
    "images; wrong: of 674 validation images, for each row\n"
)
HEADER += "".join(f"# {name}: {about}\n" for name, about in MEASURED.items()) + ",".join(columns()) + "\n"


def run(out: Path, seeds: int, epochs: int, names: list[str], table: GroundTruth) -> None:
    """Trains what is not in the file yet."""
    if not out.exists():
        out.write_text(HEADER.format(seeds=seeds, epochs=epochs))
    text = out.read_text()
    out.write_text(text[: text.rfind("\n") + 1])  # without a line that was cut off
    done = {(line.variant, line.seed, line.epochs) for line, _ in read(out)}
    jobs = [(name, seed) for name in names for seed in range(seeds) if (name, seed, epochs) not in done]
    print(f"{len(jobs)} super-nets to train, about {len(jobs) * (3 + 0.1 * epochs) / 60:.0f} min", flush=True)
    with out.open("a") as file:
        for name, seed in jobs:
            line = trained_supernet(name, seed, epochs, table)
            print(as_text(line, table), end="", file=file, flush=True)
            seconds = line.measured["seconds"]
            print(f"{name} seed {seed}: banded tau {mean_banded(table, line.errors):.3f}, {seconds:.0f} s", flush=True)


def cell(values: Tensor, digits: int = 2) -> str:
    mean, sd = mean_and_sd(values)
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def report(lines: list[tuple[Line, dict[str, float]]], table: GroundTruth) -> None:
    """Tables of means and standard deviations over the seeds, as Markdown."""
    keys = ["tau", "banded", *(f"{kind}_{100 * share:.0f}" for kind in _REGRETS for share in SHARES)]
    by_name = {name: [pair for pair in lines if pair[0].variant == name] for name in VARIANTS}
    by_name = {name: own for name, own in by_name.items() if own}
    print(f"| super-net | seeds | {' | '.join(keys)} |\n|{'---|' * (len(keys) + 2)}")
    for name, own in by_name.items():
        cells = [cell(torch.tensor([numbers[key] for _, numbers in own])) for key in keys]
        print(f"| {VARIANTS[name].about} | {len(own)} | {' | '.join(cells)} |")
    for name, cells in baselines(table).items():
        print(f"| {name} | | {' | '.join(cells)} |")
    paired(by_name, "r0", [name for name in by_name if name != "r0"])
    paired(by_name, "r0-channels", ["r1-channels"])
    paired(by_name, "r0-cost", ["r1-cost"])
    why(by_name, table)


def baselines(table: GroundTruth) -> dict[str, list[str]]:
    """What needs no super-net: tau of MACs and of one more training, and regrets of random rows and uniform widths."""
    whole, banded = table.macs_alone()
    ceiling, banded_ceiling = table.noise_ceiling()
    none = [""] * len(SHARES)
    trained, uniform, guessed = [], [], []
    for share in SHARES:
        budget = table.budget(share)
        band = Band(0, budget)
        found = [
            searched(table, table.val[:, k % 3], budget, RandomSearch(table.grid(), k, band, evaluations=EVALUATIONS))
            for k in range(300)
        ]
        trained.append(cell(torch.tensor(found)))
        uniform.append(f"{searched(table, table.truth, budget, UniformScaling(table.grid(), band)):.2f}")
        near = (table.macs <= budget) & (table.macs >= 0.8 * budget)
        guessed.append(cell(table.truth[near] - table.optimum(budget)))
    return {
        "MACs alone": [f"{whole:.2f}", f"{sum(banded.values()) / len(banded):.2f}", *none, *none, *none],
        "one more training (ceiling)": [
            f"{ceiling:.2f}",
            f"{sum(banded_ceiling.values()) / len(banded_ceiling):.2f}",
            *none,
            *none,
            *none,
        ],
        f"{EVALUATIONS} random rows, each trained": ["", "", *none, *none, *trained],
        "uniform width": ["", "", *none, *none, *uniform],
        "a random row of 80-100 % of the budget": ["", "", *none, *none, *guessed],
    }


def paired(by_name: dict, base: str, names: list[str]) -> None:
    """Differences to `base` of the same seed: their mean and standard error."""
    if base not in by_name:
        return
    keys = ["tau", "banded", *(f"best_{100 * share:.0f}" for share in SHARES)]
    print(f"\ndifference to {base}, mean over seeds ± standard error: {', '.join(keys)}")
    known = {line.seed: numbers for line, numbers in by_name[base]}
    for name in names:
        pairs = [(numbers, known[line.seed]) for line, numbers in by_name.get(name, []) if line.seed in known]
        if len(pairs) < 2:
            continue
        cells = []
        for key in keys:
            differences = torch.tensor([own[key] - other[key] for own, other in pairs])
            mean, sd = mean_and_sd(differences)
            cells.append(f"{mean:+.3f} ± {sd / len(pairs) ** 0.5:.3f}")
        print(f"{name:<12} {'   '.join(cells)}")


def why(by_name: dict, table: GroundTruth) -> None:
    """What a super-net's errors are beside those of trainings, how alike its seeds rank, and what was measured."""
    trained = table.val.mean(1)
    narrow = (table.rows == 1).sum(1) >= 2
    print("\nerrors above those of trainings (validation, points): all rows, narrow ones (two groups at a quarter),")
    print("the full one; banded tau between two seeds, and with r=0 of the same seed; then what was measured")
    first = {line.seed: line.errors for line, _ in by_name.get("r0", [])}
    for name, own in by_name.items():
        above = torch.stack([line.errors - trained for line, _ in own])
        parts = [cell(part, 1) for part in (above.mean(1), above[:, narrow].mean(1), above[:, -1])]
        errors = [line.errors for line, _ in own]
        seeds = [mean_banded(table, a, truth=b) for i, a in enumerate(errors) for b in errors[:i]]
        other = [mean_banded(table, line.errors, truth=first[line.seed]) for line, _ in own if line.seed in first]
        means = [f"{sum(v) / len(v):.2f}" if v else "-" for v in (seeds, other)]
        print(f"{name:<12} {'   '.join([*parts, *means])}")
        cells = {key: cell(torch.tensor([line.measured[key] for line, _ in own]), 3) for key in MEASURED}
        print("    " + ", ".join(f"{key} {text}" for key, text in cells.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each super-net")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--out", type=Path, default=PATH)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = ground_truth()
    if not options.report:
        run(options.out, options.seeds, options.epochs, options.only, table)
    lines = [pair for pair in read(options.out) if pair[0].epochs == options.epochs]
    report([pair for pair in lines if pair[0].variant in options.only], table)


if __name__ == "__main__":
    main()
