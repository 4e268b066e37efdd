"""A run that was killed at any moment and resumed ends with the result of the run that was not."""

import random
import re
import signal
import time

import pytest

from tests.always.methods import METHODS, TINY
from tests.always.processes import (
    ONE_DEVICE,
    TWO_RANKS,
    completed,
    finished,
    kill,
    lines,
    same_results,
    start,
    wait_for,
)


def killed_and_resumed(command, folder, moments, number, rng) -> list[int]:
    """Sends the signal once the run has logged so many rows, a moment later, and resumes; returns the exit codes."""
    codes = []
    for moment in moments:
        process = start(command)
        wait_for(lambda at=moment: lines(folder / "metrics.csv") >= at, process)
        time.sleep(rng.uniform(0, 0.1))
        kill(process, number)
        code, _, errors = finished(process)
        assert "Traceback" not in errors, errors
        codes.append(code)
        if not (folder / ".hydra" / "overrides.yaml").is_file() or code == 0:
            continue
        command = [command[0], f"resume={folder}"]
        if (folder / "comparison.csv").is_file():
            return codes
    completed(command)
    return codes


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_kill_9_at_five_random_moments(method, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    completed(method.command, *ONE_DEVICE, f"hydra.run.dir={whole}")
    rng = random.Random(f"{method.name} 1")
    logged = lines(whole / "metrics.csv")
    moments = sorted(rng.randrange(logged) for _ in range(5))
    command = [*method.command, *ONE_DEVICE, f"hydra.run.dir={folder}"]
    codes = killed_and_resumed(command, folder, moments, signal.SIGKILL, rng)
    assert codes.count(-signal.SIGKILL) >= 4  # the last one may come too late
    assert same_results(whole, folder)


# Of three ranks the sum of gradients depends on how DDP packs them, which a resume must not change.
THREE_RANKS = ("trainer=ddp_cpu", "trainer.devices=3")


@pytest.mark.slow
@pytest.mark.parametrize("devices", [ONE_DEVICE, THREE_RANKS], ids=["one process", "three ranks"])
def test_sigterm_saves_within_an_epoch_and_ends_cleanly(devices, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    conet = [word for word in METHODS[0].command if "model" not in word]  # a ResNet-20: gradients in several packs
    completed(conet, *devices, f"hydra.run.dir={whole}")
    rng = random.Random(2)
    command = [*conet, *devices, f"hydra.run.dir={folder}"]
    process = start(command)
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    kill(process, signal.SIGTERM)
    code, _, errors = finished(process)
    assert code == 143
    assert errors.count("stopped by SIGTERM") == 1
    assert f"resume={folder}" in errors  # it says how to go on
    assert "Traceback" not in errors
    assert not (folder / "architecture.yaml").exists()  # nor a result that is none
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    command = [command[0], f"resume={folder}"]
    moments = [rng.randrange(8, lines(whole / "metrics.csv"))]
    killed_and_resumed(command, folder, moments, signal.SIGTERM, rng)
    assert same_results(whole, folder)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "devices"), [("cafenet", ONE_DEVICE), ("nat", TWO_RANKS)], ids=["cafenet", "nat"])
def test_sigterm_while_a_super_net_is_searched(name, devices, tmp_path):
    """No step is made there: what looks for a signal after each step would see none."""
    searching = next(method for method in METHODS if method.name == name).command
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    completed(searching, *devices, f"hydra.run.dir={whole}")
    process = start([*searching, *devices, f"hydra.run.dir={folder}"])
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    kill(process, signal.SIGTERM)
    code, _, errors = finished(process)
    assert code == 143
    assert "Traceback" not in errors
    assert lines(folder / "candidates.csv") < lines(whole / "candidates.csv")
    completed(["search.py", f"resume={folder}"])
    assert same_results(whole, folder)


@pytest.mark.slow
def test_ctrl_c_saves_too_and_two_ranks_that_are_killed_go_on(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    completed(METHODS[0].command, *TWO_RANKS, f"hydra.run.dir={whole}")
    process = start([*METHODS[0].command, *TWO_RANKS, f"hydra.run.dir={folder}"])
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    kill(process, signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130
    assert re.search("stopping after this step", errors)
    killed_and_resumed(["search.py", f"resume={folder}"], folder, [9], signal.SIGKILL, random.Random(3))
    assert same_results(whole, folder)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_told_and_the_repaired_one_goes_on(tmp_path):
    """A flipped bit in a weight would be loaded by torch, and end in the result of no training."""
    folder = tmp_path / "run"
    process = start([*METHODS[0].command, *ONE_DEVICE, f"hydra.run.dir={folder}"])
    wait_for(lambda: lines(folder / "candidates.csv") >= 2, process)
    kill(process)
    finished(process)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    whole = checkpoint.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    checkpoint.write_bytes(damaged)
    code, _, errors = finished(start(["search.py", f"resume={folder}"]))
    assert code == 2
    assert errors.startswith(f"error: {checkpoint} is damaged")
    assert "Traceback" not in errors
    checkpoint.write_bytes(whole)
    completed(["search.py", f"resume={folder}"])


@pytest.mark.slow
def test_a_training_is_resumed_too(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    tiny = [word for word in TINY if not word.startswith("retrain.")]
    command = ["train.py", *tiny, *ONE_DEVICE, "epochs=20", "callbacks.run_checkpoint.every_n_steps=3"]
    completed(command, f"hydra.run.dir={whole}")
    from_start = [*command, f"hydra.run.dir={folder}"]
    codes = killed_and_resumed(from_start, folder, [4, 10], signal.SIGKILL, random.Random(4))
    assert codes == [-signal.SIGKILL] * 2
    assert same_results(whole, folder, ("comparison.csv", "metrics.csv"))
