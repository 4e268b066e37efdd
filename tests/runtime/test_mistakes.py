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
    ],
)
def test_what_the_machine_refuses_is_told_in_one_line(error, told):
    assert told in sentence(error)
    assert "\n" not in sentence(error)


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
