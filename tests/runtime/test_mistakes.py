"""Which exceptions are told in a sentence, and which keep their trace because they are ours to mend."""

import errno

import pytest
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch._utils import ExceptionWrapper

from src.errors import UserError
from src.runtime.mistakes import is_interrupt, sentence


def raised(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_user_error_is_told_without_the_trace_of_a_data_loaders_worker():
    try:
        raise UserError("image 7 is no image")
    except UserError:
        sent = ExceptionWrapper(where="in DataLoader worker process 0")
    assert "Traceback" in str(raised(sent.reraise))
    assert sentence(raised(sent.reraise)) == "image 7 is no image"


def test_a_user_error_below_another_exception_is_told():
    def wrapped():
        try:
            raise UserError("the true reason")
        except UserError as error:
            raise RuntimeError("something failed") from error

    assert sentence(raised(wrapped)) == "the true reason"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "cannot use /a: permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"), "a part of the path is a file"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "the GPU has too little memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "the machine has too little memory"),
        (MisconfigurationException("no\n such device"), "no such device"),
        (OSError(errno.EFBIG, "File too large"), "a file cannot be written: files may not be as large"),
        (MemoryError(), "the machine has too little memory"),
        (RuntimeError("could not create a primitive"), "the machine has too little memory"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "the disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0"), "the disk is full"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "that reads the data has died"),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), "that reads the data has died"),
    ],
)
def test_what_the_machine_refuses_is_told_in_one_line(error, told):
    assert told in sentence(error)
    assert "\n" not in sentence(error)


LOST = "another process of this run has ended or has not answered in time; what it said, if anything, stands above"
GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"{GLOO}pair.cc:547] Connection closed by peer [127.0.0.1]:4242"),
        RuntimeError(f"{GLOO}pair.cc:534] Read error [127.0.0.1]:4242: Connection reset by peer"),
        RuntimeError(f"{GLOO}pair.cc:598] writev [127.0.0.1]:4242: Broken pipe"),
        RuntimeError(f"{GLOO}unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete"),
        RuntimeError(f"{GLOO}pair.cc:460] Application timeout caused pair closure"),
        RuntimeError("Rank 0 failed to pass monitoredBarrier in 1000 ms"),
        torch.distributed.DistStoreError("wait timeout after 1000ms, keys: /default_pg/0"),
        torch.distributed.DistNetworkError("failed to recv, got 0 bytes"),
        torch.distributed.DistNetworkError("The client socket has timed out after 1000ms while trying to connect"),
        torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"),
    ],
)
def test_the_end_of_another_process_is_told(error):
    assert sentence(error).startswith(LOST)
    assert "\n" not in sentence(error)


def test_a_port_that_is_taken_is_no_lost_process():
    error = torch.distributed.DistNetworkError("The server socket has failed to bind: errno: 98, EADDRINUSE")
    assert "MASTER_PORT" in sentence(error)


@pytest.mark.parametrize("words", ["Connection refused", "timeout", "Broken pipe"])
def test_a_connection_of_something_else_is_not_taken_for_it(words):
    """A model that a user's class downloads, say."""
    assert sentence(RuntimeError(f"my server: {words}")) is None


def test_a_value_that_is_not_given_is_named():
    config = OmegaConf.create({"data": {"root": "???"}, "copy": "${data.rot}"})
    assert sentence(raised(lambda: config.data.root)) == "data.root has no value: give it as data.root=..."
    assert sentence(raised(lambda: config["copy"])).startswith("copy: ")


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), FileNotFoundError(2, "x", "y"), OSError("x")])
def test_a_defect_keeps_its_trace(error):
    assert sentence(error) is None


def test_a_key_that_our_code_misspells_is_a_defect():
    config = OmegaConf.create({"a": 1})
    OmegaConf.set_struct(config, True)
    error = raised(lambda: config.b)
    assert isinstance(error, OmegaConfBaseException)
    assert sentence(error) is None


def test_an_interrupt_is_known_through_lightnings_exit():
    def stopped():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904  as Lightning does

    assert is_interrupt(raised(stopped))
    assert is_interrupt(KeyboardInterrupt())
    assert not is_interrupt(SystemExit(1))
