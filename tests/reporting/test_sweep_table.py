"""The comparison of a multirun's jobs: which belong together, and their mean and spread."""

import csv
import io
import json
import random
import statistics

import pytest
from rich.console import Console

from src.reporting.sweep_table import (
    SweepJob,
    networks_of,
    sweep_csv,
    sweep_rows,
    sweep_table,
    varied_keys,
    without_result,
)


def job(name, error=None, base=None, state="failed", **settings):
    networks = {} if error is None else {"found": {"val_error": error, "macs": 1000.0}}
    if base is not None:
        networks["base"] = {"val_error": base, "macs": 2000.0}
    return SweepJob(name, {key: str(value) for key, value in settings.items()}, networks, "" if networks else state)


def read(rows):
    return list(csv.DictReader(io.StringIO(sweep_csv(rows))))


def shown(rows, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(sweep_table(rows))
    return console.file.getvalue()


def test_mean_and_spread_are_those_of_the_jobs_with_equal_settings():
    """Against a plain loop over all jobs, for random settings and errors."""
    draw = random.Random(0)
    jobs = [job(str(n), draw.random(), delta=draw.choice("ab"), depth=draw.choice("12"), seed=n) for n in range(40)]
    rows = read(sweep_rows(jobs))
    assert {(row["delta"], row["depth"]) for row in rows} == {(d, n) for d in "ab" for n in "12"}
    for row in rows:
        same = [j for j in jobs if (j.settings["delta"], j.settings["depth"]) == (row["delta"], row["depth"])]
        errors = [j.networks["found"]["val_error"] for j in same]
        assert float(row["found_val_error_mean"]) == pytest.approx(sum(errors) / len(errors))
        assert float(row["found_val_error_std"]) == pytest.approx(statistics.stdev(errors))
        assert int(row["found_val_error_n"]) == len(same)
        assert json.loads(row["folders"]) == [j.name for j in same]
        assert json.loads(row["seeds"]) == [j.settings["seed"] for j in same]


def test_only_what_differs_makes_a_setting():
    jobs = [job("0", 1.0, data="digits", delta=1, seed=0), job("1", 2.0, data="digits", seed=1)]
    assert varied_keys(jobs) == ["delta"]
    assert [row.setting for row in sweep_rows(jobs)] == [{"delta": "1"}, {"delta": None}]
    assert [row.setting for row in sweep_rows(jobs[:1])] == [{}]


def test_failed_jobs_take_no_part_in_a_mean_and_are_counted_and_named():
    jobs = [job("0", 1.0, delta=1, seed=0), job("1", delta=1, seed=1), job("2", delta=2, seed=0, state="not finished")]
    rows = read(sweep_rows(jobs))
    assert [(row["jobs"], row["finished"], row["without_result"]) for row in rows] == [
        ("2", "1", '["1"]'),
        ("1", "0", '["2"]'),
    ]
    assert [row["found_val_error_mean"] for row in rows] == ["1.0", ""]
    assert [row["found_val_error_std"] for row in rows] == ["", ""]  # one job has no spread
    assert without_result(jobs) == "without a result: 1 (failed), 2 (not finished)"
    assert without_result(jobs[:1]) is None
    assert "1 of 2" in shown(sweep_rows(jobs))


def test_a_job_counts_once_with_the_median_of_its_repeats():
    lines = [{"network": "base net", "run": str(run), "macs": "8", "val_error": str(run)} for run in range(3)]
    lines += [{"network": "found", "run": str(run), "macs": "4", "val_error": text} for run, text in enumerate("951")]
    assert networks_of(lines) == {"base": {"macs": 8, "val_error": 1}, "found": {"macs": 4, "val_error": 5}}


def test_a_training_is_about_its_only_network():
    assert networks_of([{"network": "resnet20", "macs": "8", "val_error": ""}]) == {"found": {"macs": 8}}
    assert networks_of([]) == {}


def test_the_table_names_settings_and_gives_both_networks():
    rows = sweep_rows([job(str(n), 1.0 + n, base=4.0, **{"method.delta": 0.0123456789, "seed": n}) for n in range(2)])
    assert "method.delta" not in shown(rows)  # it does not differ
    rows += sweep_rows([job("2", 1.0, delta=0.123456789), job("3", 1.0, delta=2)])
    text = shown(rows)
    assert "delta=0.1235" in text
    assert "(± 0.71)" in text
    assert [word for word in text.split() if word in ("base", "found")][:2] == ["base", "found"]
