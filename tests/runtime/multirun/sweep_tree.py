"""A command whose jobs take no time and leave what a search leaves, for the tests of multiruns."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.runtime.command_tree import REPOSITORY, write_files

FILES = {
    "conf/search.yaml": """
        defaults: [_self_, {sweep: null}]
        seed: 0
        delta: 0.1
        mode: fine
        resume: null
        job: ${hydra:job.num}
        hydra:
          run: {dir: outputs/run}
          sweep: {dir: sweep, subdir: '${hydra.job.num}'}
          callbacks: {comparison: {_target_: src.runtime.multirun.comparison.SweepComparison}}
          hydra_logging: {handlers: {console: {level: WARNING}}}
    """,
    "conf/sweep/grid.yaml": """
        # @package _global_
        hydra: {mode: MULTIRUN, sweeper: {params: {delta: '0.1,0.2', seed: '1,2'}}}
    """,
    "conf/sweep/trials.yaml": """
        # @package _global_
        defaults: [{override /hydra/sweeper: optuna}]
        hydra: {mode: MULTIRUN, sweeper: {n_trials: 3, params: {delta: 'interval(0.1,0.4)'}}}
    """,
    "command.py": '''
        import os, sys, time
        from pathlib import Path
        from hydra.core.hydra_config import HydraConfig
        from src.errors import UserError
        from src.runtime.launch import launch

        def search(config):
            folder = Path(HydraConfig.get().runtime.output_dir)
            with open(folder / "ran.txt", "a") as file:
                print(config.seed, config.delta, config.job, os.environ.get("WANDB_RUN_GROUP"), "torch" in sys.modules,
                      "HYDRA_FULL_ERROR" in os.environ, config.resume is not None, file=file)
            print("running", flush=True)
            if config.mode == "user" or config.mode == f"user{config.seed}" or config.mode == f"trial{config.job}":
                raise UserError("no such thing")
            if config.mode == "defect":
                raise KeyError("ours")
            if config.mode == "crash":
                os.kill(os.getpid(), 9)
            if config.mode == "wait" and not "QUICK" in os.environ:
                try:
                    time.sleep(60)
                finally:
                    (folder / "saved.txt").write_text("saved")
            if config.mode == "terminated" and not "QUICK" in os.environ:
                import signal
                def save(number, frame):
                    (folder / "saved.txt").write_text("saved")
                    sys.exit(128 + number)
                signal.signal(signal.SIGTERM, save)
                (folder / "ready.txt").write_text("")
                time.sleep(60)
            if config.mode == "deaf":
                import signal
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                (folder / "ready.txt").write_text("")
                time.sleep(60)
            error = 10 * abs(config.delta - 0.2) + config.seed
            lines = ["network,run,parameters,macs,val_error,test_error"]
            lines += [f"base net,{run},100,1000,5.0,{6 + run}" for run in range(3)]
            lines += [f"found,{run},50,{1000 * config.delta},{error + run},{error + 2 * run}" for run in range(3)]
            (folder / "comparison.csv").write_text("\\n".join(lines) + "\\n")

        if __name__ == "__main__":
            launch(search, "search", CONFIG)
    ''',
}


def write_sweep_tree(folder: Path) -> Path:
    """Writes the tree to `folder`; returns the command."""
    write_files(folder, FILES)
    return folder / "command.py"


def start(command: Path, *arguments: str, folder: Path) -> subprocess.Popen:
    """Starts the command in a group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, str(command), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns once the condition holds; fails after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def left_of(folder: Path) -> list[int]:
    """The processes whose command line names the folder: jobs that have not ended."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines() if str(folder) in line]
    return [int(pid) for pid, state, _ in lines if not state.startswith("Z")]


def end(process: subprocess.Popen) -> None:
    """Ends what a failed test has left running."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
