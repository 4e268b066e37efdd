"""What the folder of a job says of it; a resume goes by it."""

import pytest

from src.errors import UserError
from src.runtime.multirun.record import JobRecord, forget_record, holds_results, job_folders, read_record, write_record


@pytest.mark.parametrize("code", [None, 0, 2, -9])
def test_a_record_comes_back(tmp_path, code):
    record = JobRecord(3, ("name='a, b: c'", "model.blocks=[1,1]", "seed=1"), code)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert record.failed == (code in (2, -9))
    forget_record(tmp_path)
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("text", ["", "number: 1", "number: x\noverrides: []\nexit_code: 0", "overrides: [", "[1]"])
def test_a_damaged_record_is_a_sentence(tmp_path, text):
    write_record(tmp_path, JobRecord(0, ()))
    (tmp_path / ".hydra" / "job.yaml").write_text(text)
    with pytest.raises(UserError, match=r"job\.yaml is damaged"):
        read_record(tmp_path)


def test_jobs_are_found_in_order_however_deep_and_no_folder_of_a_job_is_one(tmp_path):
    for name in ("10", "9", "a/seed=1", "9/wandb/inner"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    (tmp_path / "12").mkdir()
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "9" / "comparison.csv").write_text("")
    assert [str(folder.relative_to(tmp_path)) for folder in job_folders(tmp_path)] == ["9", "10", "a/seed=1"]
    assert [holds_results(folder) for folder in job_folders(tmp_path)] == [True, False, False]
    assert list(job_folders(tmp_path / "nowhere")) == []
