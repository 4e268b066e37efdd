"""Runs whose processes torchrun or SLURM has started: they agree on one run folder before Hydra makes it.

Each of them composes its own config, and the time of day in the name of the folder would give each its own.
"""

import os
import time
from datetime import timedelta

from src.errors import UserError

_PATIENCE = timedelta(seconds=300)  # nodes of a cluster do not start at the same moment


def launched_rank() -> int | None:
    """The rank of this process where torchrun or SLURM has started several; None elsewhere."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        from lightning_fabric.plugins.environments import SLURMEnvironment

        return int(os.environ["SLURM_PROCID"]) if SLURMEnvironment.detect() else None
    return None


def folder_of_rank_0(folder: str) -> str:
    """The run folder that rank 0 has chosen; every rank calls it with its own."""
    from torch.distributed import PrefixStore

    store = PrefixStore(f"espalier-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", _store())
    if launched_rank() == 0:
        store.set("folder", folder)
    chosen = store.get("folder").decode()
    store.add("read", 1)
    if launched_rank() == 0:  # the store lives in rank 0: it stays until all have read
        while store.add("read", 0) < int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))):
            time.sleep(0.05)
    return chosen


def _store():
    """A key-value store that all ranks reach: torchrun's own, or under SLURM one in rank 0."""
    from torch.distributed import TCPStore

    if "TORCHELASTIC_RUN_ID" in os.environ:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        mine = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and launched_rank() == 0
        return TCPStore(host, port, None, mine, timeout=_PATIENCE)
    from lightning_fabric.plugins.environments import SLURMEnvironment

    try:
        cluster = SLURMEnvironment()
    except RuntimeError as error:  # --ntasks in place of --ntasks-per-node
        raise UserError(str(error)) from error
    return TCPStore(cluster.main_address, cluster.main_port + 1, None, launched_rank() == 0, timeout=_PATIENCE)
