"""A small config tree and a command that uses it, for the tests of the command line."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

FILES = {
    "conf/search.yaml": """
        defaults: [_self_, {model: resnet20}, {method: conet}, {trainer: cpu}]
        hydra: {run: {dir: outputs/run}, sweep: {dir: multirun/run}}
        seed: 0
        mode: fine
        architecture: null
        resume: null
        name: ${method.name}-${seed}
    """,
    "conf/model/resnet20.yaml": "{_target_: torch.nn.Linear, in_features: 3, out_features: 2}",
    "conf/model/resnet32.yaml": "{_target_: torch.nn.Linear, in_features: 3, out_features: 4}",
    "conf/model/unfinished.yaml": "{_target_: my_package.MyNet, width: '???'}",
    "conf/model/broken.yaml": "a: [1\nb: 2",
    "conf/method/conet.yaml": "{name: conet, delta: 0.1, trials: 5, retrain: {epochs: 3}}",
    "conf/method/random.yaml": "{name: random, budget: 5}",
    "conf/trainer/cpu.yaml": "{devices: 1}",
    "conf/experiment/seven.yaml": "# @package _global_\nseed: 7",
    "conf/sweep/seeds.yaml": "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}",
    "conf/sweep/typo.yaml": "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {sed: '1,2'}}}",
    "command.py": """
        from src.errors import UserError
        from src.runtime.launch import launch

        def search(config):
            print("ran", config.name)
            if config.mode == "user":
                raise UserError("the width bound is\\n empty")
            if config.mode == "defect":
                raise KeyError("ours")
            if config.mode == "interrupt":
                raise KeyboardInterrupt
            if config.mode == "disk":
                raise OSError(28, "No space left on device", "weights.pt")
            if config.mode == "environment":
                import os
                print("HYDRA_FULL_ERROR" in os.environ)
            if config.mode == "own":
                import my_package
                print(my_package.GREETING)

        if __name__ == "__main__":
            launch(search, "search", CONFIG)
    """,
}


def write_tree(folder: Path) -> Path:
    """Writes the tree to `folder`; returns the command."""
    write_files(folder, FILES)
    return folder / "command.py"


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Writes indented texts as files; `CONFIG)` becomes the path of the folder `conf`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        text = "\n".join(line[indent:] for line in lines)
        path.write_text(text.replace("CONFIG)", f"{str(folder / 'conf')!r})") + "\n")


def run(command: Path, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs the command in `folder`, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, str(command), *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
