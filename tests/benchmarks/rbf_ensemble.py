"""Seconds to fit an RBF ensemble and to predict with it, beside one member after the other; then a joint proposal.

    OMP_NUM_THREADS=2 python -m tests.benchmarks.rbf_ensemble [--members 500] [--rows 300] [--asked 10000] [--naive 500]
    OMP_NUM_THREADS=1 python -m tests.benchmarks.rbf_ensemble --naive 0 --nets 2

Rows have the 22 genes of OFA's space; values are made up and smooth, with noise. `naive` is how many of the members are
also fitted by scipy's RBFInterpolator, one after the other; predictions of these are compared, and their time with the
share of the ensemble's. The proposal is that of ENCAS-joint: three kinds of ensembles, 10,000 rows by MO-GOMEA, for
made-up cascades of as many super-nets as `nets` says.
"""

import argparse
import time

import numpy as np
from scipy.interpolate import RBFInterpolator

from src.evolution.joint_proposals import propose_joint
from src.evolution.joint_rows import JointRows
from src.evolution.joint_surrogate import JointSurrogate
from src.evolution.rank_measures import rank_measures
from src.evolution.rbf_ensemble import RBFEnsemble
from src.evolution.rbf_members import draw_members

ALPHABET = np.array([17, 1] + [10] * 20)
ETA = 1e-6


def values_of(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Errors in percent: more is better, ever less so, and a standard deviation of 0.3 for the training's luck."""
    worth = (rows / ALPHABET) @ np.linspace(0.2, 1, len(ALPHABET))
    return 60 / (1 + worth) + 0.3 * generator.standard_normal(len(rows))


def one_by_one(rows: np.ndarray, values: np.ndarray, genes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predictions (M, m) of members with genes (M, d), each fitted by scipy on the first of its equal rows."""
    found = []
    for mask in genes:
        own, first = np.unique(rows[:, mask] / ALPHABET[mask], axis=0, return_index=True)
        member = RBFInterpolator(own, values[first], kernel="cubic", degree=1, smoothing=ETA)
        found.append(member(asked[:, mask] / ALPHABET[mask]))
    return np.array(found)


def ensemble(options: argparse.Namespace) -> None:
    generator = np.random.default_rng(0)
    rows, asked = (generator.integers(ALPHABET, size=(count, len(ALPHABET))) for count in (options.rows, options.asked))
    values, true = values_of(rows, generator), values_of(asked, generator)
    RBFEnsemble(ALPHABET, 8).fit(rows, values).predict(asked[:100])  # threads and libraries are there after this
    began = time.perf_counter()
    fitted = RBFEnsemble(ALPHABET, options.members, ETA).fit(rows, values)
    fit = time.perf_counter() - began
    began = time.perf_counter()
    predicted = fitted.predict(asked)
    predict = time.perf_counter() - began
    print(f"{options.members} members, {options.rows} rows: fit {fit:.2f} s, {options.asked:,} predictions ", end="")
    print(f"{predict:.2f} s, together {fit + predict:.2f} s")
    print("held out:", ", ".join(f"{name} {value:.3f}" for name, value in rank_measures(predicted, true).items()))
    if options.naive:
        genes, _ = draw_members(rows / ALPHABET, options.members, np.random.default_rng(0))
        began = time.perf_counter()
        expected = one_by_one(rows, values, genes[: options.naive], asked)
        seconds = time.perf_counter() - began
        print(f"{options.naive} members one by one: {seconds:.1f} s, ", end="")
        print(f"{seconds / (fit + predict) * options.members / options.naive:.1f} times as long; ", end="")
        difference = np.abs(fitted.predictions(asked)[: options.naive] - expected).max()
        print(
            f"largest difference of a member's prediction {difference:.1e}, of values from {expected.min():.1f} ",
            end="",
        )
        print(f"to {expected.max():.1f}")


def proposal(options: argparse.Namespace) -> None:
    generator, layout = np.random.default_rng(0), JointRows([ALPHABET] * options.nets)
    rows = generator.integers(layout.alphabet, size=(options.rows, len(layout.alphabet)))
    rows = np.unique(layout.canonical(rows, [None] * options.nets), axis=0)
    parts, positions, thresholds = layout.split(rows)

    def macs_of(part: np.ndarray) -> np.ndarray:
        return 1_000_000 * (20 + part.sum(1))

    errors = np.stack([values_of(part, generator) for part in parts], axis=1)
    macs = np.stack([macs_of(part) for part in parts], axis=1)
    order = layout.order(positions)
    reach = np.take_along_axis(((thresholds + 1) / 10) ** 2, order, 1)[:, :-1].cumprod(1)
    reach = np.concatenate([np.ones((len(rows), 1)), reach], axis=1)
    error = (np.take_along_axis(errors, order, 1) * reach).sum(1) / reach.sum(1) * (1 - 0.1 * reach[:, 1:].sum(1))
    cost = (np.take_along_axis(macs, order, 1) * reach).sum(1)
    for subsets in (True, False):
        began = time.perf_counter()
        surrogate = JointSurrogate(layout, options.members, subsets=subsets).fit(rows, errors, error, macs, cost)
        fit = time.perf_counter() - began
        began = time.perf_counter()
        count = [macs_of] * options.nets
        found, _ = propose_joint(surrogate, count, [None] * options.nets, 0, evaluations=options.asked)
        print(f"joint, {options.nets} super-nets, {'subsets' if subsets else 'all inputs'}: fit {fit:.1f} s, ", end="")
        print(f"{options.asked:,} rows {time.perf_counter() - began:.1f} s, a front of {len(found)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, default in (("members", 500), ("rows", 300), ("asked", 10_000), ("naive", 500), ("nets", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    ensemble(parser.parse_args())
    proposal(parser.parse_args())
