"""A checkpoint is whole, or its damage is told; it belongs to its run, or it is refused."""

import random

import pytest
import torch
from torch import nn

from callbacks.channel_rescaling import ChannelRescaling
from callbacks.rank_measurement import RankMeasurement
from callbacks.run_checkpoint import RunCheckpoint
from src.errors import UserError
from src.runtime.checkpoints import RunCheckpointIO, RunState, load_checked, part_name, save_whole
from src.runtime.trainer import make_trainer
from tests.searching import conet, digits


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a short CONet search, with its last checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    callbacks = [RankMeasurement(), ChannelRescaling(), RunCheckpoint(f"{folder}/checkpoints")]
    state = RunState(folder, "this run")
    trainer = make_trainer({"accelerator": "cpu", "devices": 1}, callbacks, (), state.checkpoint_io())
    conet(trials=2).search(trainer, digits())
    return folder


def same(first, second) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def test_one_wrong_byte_anywhere_is_told_or_harmless(searched, tmp_path):
    """torch alone loads most of these files without a word, with wrong weights."""
    whole = (searched / "checkpoints" / "last.ckpt").read_bytes()
    reader, rng, sentences = RunCheckpointIO("this run", "last"), random.Random(0), []
    expected = reader.load_checkpoint(searched / "checkpoints" / "last.ckpt")
    places = [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(148))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / "last.ckpt").write_bytes(damaged)
        try:
            found = reader.load_checkpoint(tmp_path / "last.ckpt")
        except UserError as error:
            sentences.append(str(error))
        else:
            assert same(found, expected), place  # a byte that means nothing
    assert len(sentences) > 100
    assert all(str(tmp_path / "last.ckpt") in text and "\n" not in text for text in sentences)


def test_half_a_file_no_file_and_other_files_are_told(searched, tmp_path):
    whole = (searched / "checkpoints" / "last.ckpt").read_bytes()
    reader, path = RunCheckpointIO("this run", "last"), tmp_path / "x.ckpt"
    with pytest.raises(UserError, match="there is no file"):
        reader.load_checkpoint(path)
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged or was not written by this project"):
            reader.load_checkpoint(path)
    torch.save(nn.Linear(2, 2), path)  # code, not values: it is not run
    with pytest.raises(UserError, match="was not written by this project"):
        reader.load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="was not written by a run of this project"):
        reader.load_checkpoint(path)


@pytest.mark.parametrize("reader", [RunCheckpointIO("another", "last"), RunCheckpointIO("this run", "base-0")])
def test_the_checkpoint_of_another_run_or_part_is_refused(searched, reader):
    with pytest.raises(UserError, match="belongs to another run"):
        reader.load_checkpoint(searched / "checkpoints" / "last.ckpt")


def test_the_checkpoint_of_another_number_of_processes_is_taken_with_a_warning(tmp_path, monkeypatch):
    RunCheckpointIO("run", "last").save_checkpoint({"a": 1}, tmp_path / "x.ckpt")
    monkeypatch.setattr("src.runtime.checkpoints.world_size", lambda: 2)
    with pytest.warns(UserWarning, match="written by 1 processes and 2 go on"):
        assert RunCheckpointIO("run", "last").load_checkpoint(tmp_path / "x.ckpt")["a"] == 1


def test_a_write_that_fails_leaves_the_last_good_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    save_whole({"step": 1}, tmp_path / "last.ckpt")
    monkeypatch.setattr("src.runtime.checkpoints.os.fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        save_whole({"step": 2}, tmp_path / "last.ckpt")
    assert load_checked(tmp_path / "last.ckpt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_results_of_parts_are_found_again_by_a_resumed_run_only(tmp_path):
    RunState(tmp_path, "run").keep_result("base-0", {"error": 1.5, "weights": {"a": torch.ones(2)}})
    assert RunState(tmp_path, "run").result("base-0") is None
    resumed = RunState(tmp_path, "run", resumed=True)
    assert resumed.result("base-0")["error"] == 1.5
    assert resumed.result("found-0") is None
    with pytest.raises(UserError, match="belongs to another run"):
        RunState(tmp_path, "other", resumed=True).result("base-0")
    resumed.forget_results()
    assert resumed.result("base-0") is None


def test_parts_are_named_after_the_prefix_of_their_metrics():
    assert [part_name(prefix) for prefix in ("", "base-0/", "found/")] == ["last", "base-0", "found"]
