"""Which exceptions are the user's mistakes, and the one sentence that each of them deserves.

Nothing here imports torch or Lightning: a mistyped command should be answered at once. What those libraries raise is
recognised by the class that they define, and only if they have been imported at all.
"""

import errno
import re
import sys
from types import ModuleType

from hydra.errors import HydraException
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import YAMLError

from src.errors import UserError
from src.whole_files import TORCH_CANNOT_WRITE

# What a folder, a disk or a permission can do to any program; what else the operating system raises keeps its trace.
_ENVIRONMENT = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "it exists and is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not be as large as this one (a limit of the system, see ulimit -f)",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many files are open (a limit of the system, see ulimit -n)",
    errno.ENOMEM: "the machine has too little memory",
}


_TOO_LITTLE = "has too little memory: use a smaller data.batch_size or a smaller model"

# What torch raises as a plain RuntimeError, known by its words.
_FROM_TORCH = {
    r"DefaultCPUAllocator|could not create a (memory object|primitive)|std::bad_alloc": f"the machine {_TOO_LITTLE}",
    TORCH_CANNOT_WRITE: "a file cannot be written: the disk is full, or files may not be as large as it",
    r"out of shared memory|insufficient shared memory": (
        "the machine has too little shared memory for the processes that read the data: use data.num_workers=0"
    ),
    r"DataLoader worker \(pid.*(killed by signal|exited unexpectedly)": (
        "a process that reads the data has died, maybe for want of memory; data.num_workers=0 reads without it"
    ),
}
# Of the processes of a distributed run: what stands in an error of the connection, and what has happened to it.
_CONNECTION = r"gloo|NCCL|TCPStore|SocketImpl|c10d|ProcessGroup|\b[Rr]anks? \d|monitoredBarrier"
_LOST = {
    r"EADDRINUSE|[Aa]ddress already in use": "the port where the processes of this run meet is taken: set MASTER_PORT",
    r"[Cc]onnection (was )?(likely )?(closed|reset|refused)|[Bb]roken pipe|[Ff]ailed to recv|recvValue failed"
    r"|remote process"
    r"|[Tt]imed ?out|[Tt]imeout|monitoredBarrier": (
        "another process of this run has ended or has not answered in time; what it said, if anything, stands above"
    ),
}

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def one_line(text: object) -> str:
    """`text` with every run of white space made one space."""
    return " ".join(str(text).split())


def sentence(error: BaseException) -> str | None:
    """What to tell the user about `error`; None if it is a defect of ours that should keep its trace."""
    # Lightning, Hydra and the data loader wrap what a user's code or ours raised: the innermost UserError says it best.
    for link in _chain(error):
        if isinstance(link, UserError):
            return one_line(_without_worker_trace(str(link)))
    if isinstance(error, (MissingMandatoryValue, InterpolationResolutionError)):
        return config_sentence(error)
    if isinstance(error, (HydraException, YAMLError)):
        return config_sentence(error)
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return os_sentence(error)
    if _is_from(error, "torch", "OutOfMemoryError"):
        return _memory_sentence("GPU", error)
    if isinstance(error, MemoryError):
        return _memory_sentence("machine", error)
    if isinstance(error, RuntimeError):
        connected = type(error).__module__.startswith("torch.distributed") or re.search(_CONNECTION, str(error))
        for pattern, told in (_FROM_TORCH | (_LOST if connected else {})).items():
            if re.search(pattern, str(error)):
                return told if pattern in _LOST else one_line(f"{told} ({_first_line(error)})")
    if _is_from(error, "pytorch_lightning.utilities.exceptions", "MisconfigurationException"):
        return one_line(error)
    return None


def config_sentence(error: BaseException) -> str:
    """An error of Hydra, OmegaConf or YAML in one line, with the key that it is about."""
    if isinstance(error, YAMLError):
        return yaml_sentence(error)
    if isinstance(error, OmegaConfBaseException):
        key = getattr(error, "full_key", None)
        if isinstance(error, MissingMandatoryValue) and key:
            return f"{key} has no value: give it as {key}=..."
        text = (str(error).splitlines() or [type(error).__name__])[0]
        return one_line(f"{key}: {text}" if key else text)
    text = one_line(str(error).split("Set the environment variable")[0])
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {config_sentence(cause)}" if text else config_sentence(cause)
    elif cause is not None and not text:
        text = one_line(cause)
    return text or type(error).__name__


def yaml_sentence(error: YAMLError) -> str:
    """Where a YAML file is broken, and how."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark is not None else "a YAML file"
    return one_line(f"{where}: {getattr(error, 'problem', None) or error}")


def os_sentence(error: OSError) -> str:
    """Which file or folder the operating system refused, and why."""
    reason = _ENVIRONMENT.get(error.errno, error.strerror or str(error))
    if error.filename is None:
        return f"a file cannot be written: {reason}" if error.errno in _DISK else reason
    return f"cannot use {error.filename}: {reason}"


def _memory_sentence(place: str, error: BaseException) -> str:
    return one_line(f"the {place} {_TOO_LITTLE} ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_interrupt(error: BaseException) -> bool:
    """Whether the user pressed Ctrl-C; Lightning turns that into an exit while it handles the interrupt."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
    )


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and the explicit causes below it (`raise ... from`)."""
    links: list[BaseException] = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__
    return links


def _without_worker_trace(text: str) -> str:
    """A data loader's worker sends its exception with the whole trace as the message: keep what the exception said."""
    if not text.startswith("Caught "):
        return text
    return re.split(r"\n\S*UserError: ", text)[-1]


def _is_from(error: BaseException, module: str, name: str) -> bool:
    """Whether `error` is an instance of `module.name`, without importing the module."""
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None) if isinstance(loaded, ModuleType) else None
    return isinstance(kind, type) and isinstance(error, kind)
