"""Lightning's DDP, with ranks that start as the same run as rank 0 and do not outlive each other."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_original_cwd
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from src.runtime.multirun.plan import quoted
from src.runtime.ranks.watch import PARENT, watch_children, watch_parent

_START_S = 300  # so long ranks may take to find each other: they read the data first


class RanksStrategy(DDPStrategy):
    """DDP for every number of devices and nodes, also under torchrun and SLURM.

    Args:
        timeout_s: seconds after which a rank that does not answer ends the run; and so long the others may go on after
            one of them has died.
        unused_parameters: whether a step may leave parameters without a gradient (a path that skips a module does).
        options: of torch's DistributedDataParallel.
    """

    def __init__(self, timeout_s: float = 600, unused_parameters: bool = False, **options: Any) -> None:
        self.timeout_s = timeout_s
        options.setdefault("gradient_as_bucket_view", True)  # a copy of every gradient less
        start = timedelta(seconds=max(timeout_s, _START_S))
        super().__init__(timeout=start, find_unused_parameters=unused_parameters, **options)

    def setup_distributed(self) -> None:
        super().setup_distributed()
        set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout  # before torch 2.12
        set_timeout(timedelta(seconds=self.timeout_s))

    def _configure_launcher(self) -> None:
        self._launcher = RanksLauncher(self.cluster_environment, self.num_processes, self.num_nodes, self.timeout_s)

    @property
    def starts_processes(self) -> bool:
        """Whether rank 0 starts the others; False where torchrun or SLURM has started all of them."""
        return not self.cluster_environment.creates_processes_externally


class RanksLauncher(_SubprocessScriptLauncher):
    """Starts the further ranks of this node with the command of the run itself.

    Lightning's own repeats the command line of rank 0. In a multirun that is the whole sweep: each further rank would
    run all jobs again, and where the sweeper draws at random, train other configs than rank 0. Here a rank gets the
    overrides of this one job and its folder.
    """

    def __init__(self, cluster_environment, num_processes: int, num_nodes: int, timeout_s: float) -> None:
        super().__init__(cluster_environment, num_processes, num_nodes)
        self.timeout_s = timeout_s

    def launch(self, function: Callable, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            watch_children(self.procs, self.timeout_s)
        elif PARENT in os.environ:
            watch_parent(int(os.environ[PARENT]), self.timeout_s)
        return function(*args, **kwargs)

    def _call_children_scripts(self) -> None:
        self._check_can_spawn_children()
        environment = self.cluster_environment
        os.environ |= {
            "MASTER_ADDR": environment.main_address,
            "MASTER_PORT": str(environment.main_port),
            "NODE_RANK": str(environment.node_rank()),
            "LOCAL_RANK": str(environment.local_rank()),
            "WORLD_SIZE": str(self.num_processes * self.num_nodes),
        }
        command, folder = rank_command()
        self.procs = [
            subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(rank), PARENT: str(os.getpid())}, cwd=folder)
            for rank in range(1, self.num_processes)
        ]


def rank_command() -> tuple[list[str], str]:
    """The command that runs this very job once more, and the folder to start it in."""
    import __main__

    script = getattr(__main__, "__spec__", None)
    command = [sys.executable, "-m", script.name] if script else [sys.executable, os.path.abspath(sys.argv[0])]
    if not HydraConfig.initialized():
        return [*command, *sys.argv[1:]], os.getcwd()
    hydra = HydraConfig.get()
    command += [option for option in sys.argv[1:] if option.startswith("--config-")]
    command += list(hydra.overrides.task)
    command += [
        f"hydra.run.dir={quoted(hydra.runtime.output_dir)}",
        f"hydra.mode={RunMode.RUN.name}",
        "hydra.output_subdir=null",  # the files of .hydra are rank 0's
    ]
    return command, get_original_cwd()
