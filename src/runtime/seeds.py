"""Seeds: one for the whole run, and ones that depend on nothing but a key, so that all ranks draw the same."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytorch_lightning as pl
import torch

from src.errors import check_range

_LARGEST = 2**32 - 1


def seed_everything(seed: int) -> int:
    """Seeds Python, NumPy and torch, and the workers of data loaders.

    Raises:
        UserError: `seed` is not a whole number from 0 to 2**32 - 1 (NumPy's limit).
    """
    check_range("seed", seed, 0, _LARGEST)
    return pl.seed_everything(int(seed), workers=True, verbose=False)


def keyed_seed(seed: int, *key: int | str) -> int:
    """A seed from 0 to 2**63 - 1 that depends on `seed` and `key` alone, the same on every machine and Python.

    The parts of the key are told apart by type and length: ("a", "b") and ("ab",), 1 and "1" all differ.
    """
    text = repr((int(seed), *(part if isinstance(part, str) else int(part) for part in key)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def keyed_generator(seed: int, *key: int | str) -> torch.Generator:
    """A new CPU generator for (seed, key), whatever was drawn before: a GPU sees the numbers that a CPU sees."""
    return torch.Generator().manual_seed(keyed_seed(seed, *key))


def reseed(seed: int, *key: int | str) -> int:
    """From here on the random numbers of Python, NumPy and torch depend on (seed, key); returns the seed.

    Called before each step, it makes what a step draws (dropout, say) independent of all that ran before: no state of
    a generator has to be kept for a run that is resumed. It takes about 20 microseconds.
    """
    value = keyed_seed(seed, *key)
    random.seed(value)
    np.random.seed(value & _LARGEST)  # noqa: NPY002
    torch.default_generator.manual_seed(value)
    if _cuda_in_use():
        torch.cuda.manual_seed(value)
    return value


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()


@contextmanager
def seeded(seed: int, *key: int | str) -> Iterator[int]:
    """Random numbers of Python, NumPy and torch that depend on (seed, key) alone; afterwards they go on as before.

    Builds the same fresh network on every rank at trial k, whatever has been drawn before:

        with seeded(config.seed, "trial", k):
            network = network_from(config)

    The current CUDA device is included once CUDA is in use; the block does not start CUDA, because a rank that has not
    chosen its device yet would take memory on the first one.
    """
    cuda = _cuda_in_use()
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    cuda_before = torch.cuda.get_rng_state() if cuda else None
    try:
        yield reseed(seed, *key)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
        if cuda_before is not None:
            torch.cuda.set_rng_state(cuda_before)
