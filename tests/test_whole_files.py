"""A file is there whole or not at all."""

import errno
import os

import pytest

from src.errors import UserError, WriteError
from src.whole_files import output_folder, write_whole, written_whole


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "record.csv", "old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match=r"record\.csv cannot be written: No space left"):
        write_whole(path, "new" * 1000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.csv"]


def test_a_kill_before_the_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "record.csv", "old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.csv"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        output_folder(tmp_path / "file" / "run")
    assert output_folder(tmp_path / "a" / "b").is_dir()


def test_the_file_is_there_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "weights.pt"
    with written_whole(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.suffix == ".pt"
    assert path.read_text() == "half"
    assert [entry.name for entry in path.parent.iterdir()] == ["weights.pt"]


def test_an_error_keeps_the_earlier_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("earlier")

    def fails():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert path.read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, error):
    """Python and torch do not say which file it is."""
    with pytest.raises(WriteError, match=r"weights\.pt cannot be written: "), written_whole(tmp_path / "weights.pt"):
        raise error
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("a defect"), FileNotFoundError(errno.ENOENT, "absent", "/data/x.png")])
def test_other_errors_in_the_block_pass_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as caught, written_whole(tmp_path / "weights.pt"):
        raise error
    assert caught.value is error
