"""Runs a function on two gloo processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAD = """
import os, sys, torch
import torch.distributed as dist
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
"""


def on_two_ranks(body: str, folder: Path) -> list[str]:
    """What each rank prints; fails where one of them fails."""
    script = folder / "ranks.py"
    script.write_text(HEAD.format(root=str(ROOT)) + body + "\ndist.destroy_process_group()\n")
    command = [sys.executable, str(script), str(folder / "store")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ranks = [subprocess.Popen([*command, str(rank)], env=environment, **pipes) for rank in (0, 1)]
    outputs = []
    for process in ranks:
        output, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
        outputs.append(output.strip())
    return outputs
