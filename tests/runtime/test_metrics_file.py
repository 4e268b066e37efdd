"""metrics.csv is the record of a run: nothing of it may get lost, whatever is logged and whenever the process dies."""

import csv
import resource

import pytest
import torch

from src.errors import WriteError
from src.runtime.metrics_file import MetricsFile


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_of_one_step_share_a_row_and_new_ones_get_a_column(tmp_path):
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"val/error": torch.tensor(50.0), "epoch": 0}, step=9)
    logger.log_metrics({"train/loss": 2.0, "epoch": 0}, step=9)
    logger.log_metrics({"val/error": 40.0, "epoch": 1}, step=19)
    logger.log_metrics({"a, quoted": "x", "epoch": 1}, step=19)
    assert (tmp_path / "metrics.csv").read_text() == (
        'step,epoch,val/error,train/loss,"a, quoted"\n9,0,50.0,2.0,\n19,1,40.0,,x\n'
    )


def test_a_row_that_contradicts_the_last_one_is_a_row_of_its_own(tmp_path):
    logger = MetricsFile(tmp_path)
    for error in (50.0, 40.0):  # the same step of two fits
        logger.log_metrics({"error": error}, step=9)
    assert [row["error"] for row in rows(tmp_path)] == ["50.0", "40.0"]


def test_a_second_process_goes_on_after_the_rows_of_the_first(tmp_path):
    MetricsFile(tmp_path).log_metrics({"error": 50.0}, step=1)
    second = MetricsFile(tmp_path)
    second.log_metrics({"error": 40.0}, step=2)
    second.log_metrics({"loss": 1.0}, step=3)
    assert [(row["step"], row["error"], row["loss"]) for row in rows(tmp_path)] == [
        ("1", "50.0", ""),
        ("2", "40.0", ""),
        ("3", "", "1.0"),
    ]


def test_a_row_that_a_killed_process_left_half_written_is_cut_off(tmp_path):
    MetricsFile(tmp_path).log_metrics({"error": 50.0}, step=1)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("2,,4")
    MetricsFile(tmp_path).log_metrics({"error": 40.0}, step=2)
    assert [(row["step"], row["error"]) for row in rows(tmp_path)] == [("1", "50.0"), ("2", "40.0")]


def test_nothing_is_logged_nothing_is_written(tmp_path):
    logger = MetricsFile(tmp_path)
    logger.save()
    logger.finalize("success")
    assert not list(tmp_path.iterdir())


def test_a_row_that_does_not_fit_leaves_the_file_as_it_was(tmp_path):
    """On a full disk the last row was there once: half a row would be taken for a whole one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    metrics = MetricsFile(tmp_path)
    metrics.log_metrics({"a": 1.0}, step=0)
    metrics.log_metrics({"a": 2.0}, step=1)
    before = (tmp_path / "metrics.csv").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"metrics\.csv cannot be written"):
            metrics.log_metrics({"a": 3.0}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "metrics.csv").read_bytes() == before
