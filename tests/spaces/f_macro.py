"""The cost table of the macro of HourNAS-F in closed form: no network is built, and no code of ours counts."""

import torch

from src.spaces.cost_table import CostTable

# channels, blocks and stride of the first block of each stage, for images of 224 x 224 behind a stem of stride 2
STAGES = ((16, 1, 1), (24, 4, 2), (40, 4, 2), (80, 4, 2), (112, 4, 1), (192, 4, 2), (320, 1, 1))
OPERATIONS = (*(f"ir_k{k}_e{e}{se}" for se in ("", "_se") for k in (3, 5) for e in (1, 3, 6)), "skip")
# kernel and expansion of each block, as released; every block has squeeze-and-excitation
GENOTYPE = ("31", "56515131", "56513151", "56363636", "56535353", "56563656", "56")
CHOICE = torch.tensor(
    [OPERATIONS.index(f"ir_k{row[i]}_e{row[i + 1]}_se") for row in GENOTYPE for i in range(0, len(row), 2)]
)
VITAL = (0, 1, 5, 9, 13, 17, 21)
TARGETS = {"macs": 383e6, "params": 5.3e6}  # what HourNAS-F is published with


def f_table(fixed_vital: bool = True, se_of: str = "expanded") -> CostTable:
    """MACs and parameters of 22 blocks x 13 operations; blocks that are vital as in HourNAS-F, or free.

    `se_of`: squeezed are 0.05 of the "expanded" channels, as released, or 0.25 of the "input" ones, which fits the
    published size as well and is what the table of section 4.3 of the specification was made with.
    """
    rows, allowed = [], []
    size, channels = 112, 32
    for width, blocks, stride in STAGES:
        for block in range(blocks):
            after = size // stride if block == 0 else size
            rows.append([_costs(name, channels, width, size, after, se_of) for name in OPERATIONS])
            allowed.append([name != "skip" or block > 0 for name in OPERATIONS])
            size, channels = after, width
    # stem of 3 x 3 to 32 channels; head of 1 x 1 to 1280 channels; 1000 classes
    macs = 3 * 32 * 9 * 112**2 + 320 * 1280 * 49 + 1280 * 1000
    params = 3 * 32 * 9 + 2 * 32 + 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    table = torch.tensor(rows, dtype=torch.float64).movedim(-1, 0)
    table = CostTable(("macs", "params"), torch.tensor([macs, params]).double(), table, torch.tensor(allowed))
    return table.restricted({block: int(CHOICE[block]) for block in VITAL}) if fixed_vital else table


def _costs(name: str, channels: int, width: int, size: int, after: int, se_of: str) -> tuple[int, int]:
    if name == "skip":
        return 0, 0
    kernel, expansion = int(name[4]), int(name[7])
    middle = channels * expansion
    macs = size**2 * channels * middle + after**2 * middle * (kernel**2 + width)
    params = middle * (channels + kernel**2 + width) + 2 * (middle + middle + width)  # with three batch norms
    if name.endswith("_se"):
        squeezed = max(1, int(0.05 * middle if se_of == "expanded" else 0.25 * channels))
        macs += 2 * middle * squeezed
        params += 2 * middle * squeezed + middle + squeezed
    return macs, params
