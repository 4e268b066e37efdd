"""Members whose outputs are known to the last bit, and the rule of a cascade as a plain loop over images."""

import numpy as np
import torch
from torch import nn

from src.networks.cascade import Cascade
from src.networks.cascade_rule import mean, undecided


class Table(nn.Module):
    """Logits (N, C) by the number that an image (1, 1, 1) consists of; notes the sizes of its batches."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits, dtype=torch.float32))
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return self.logits[images.flatten().long()]


def numbers(count: int) -> torch.Tensor:
    """The images of a table: 0, 1, ..."""
    return torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1)


def tables(members: int, samples: int, classes: int, seed: int = 0) -> list[Table]:
    """Of logits that agree by and large, unsure to saturated: images leave at every stage, softmaxes reach 0, 1."""
    generator = torch.Generator().manual_seed(seed)
    sharp = torch.rand(samples, 1, generator=generator) * 12
    common = torch.randn(samples, classes, generator=generator) * sharp
    return [Table(common + torch.randn(samples, classes, generator=generator)) for _ in range(members)]


def half_softmax(logits: torch.Tensor) -> np.ndarray:
    """What stored outputs hold, float16 (N, C)."""
    return torch.softmax(logits.float(), 1).numpy().astype(np.float16)


def by_loop(stored: list[np.ndarray], thresholds: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """q float32 (N, C) and the number of members that each image has run (N,), one image at a time."""
    answers, lengths = [], []
    for number in range(len(stored[0])):
        total, ran = np.zeros(stored[0].shape[1], dtype=np.float64), 0
        for member, probabilities in enumerate(stored):
            total, ran = total + probabilities[number].astype(np.float64), ran + 1
            q = np.float32(total / ran)
            if member < len(thresholds) and not q.max() <= np.float32(thresholds[member]):
                break
        answers.append(q)
        lengths.append(ran)
    return np.array(answers), np.array(lengths)


@torch.no_grad()
def spread(cascade: Cascade, images: torch.Tensor) -> Cascade:
    """`cascade`, with thresholds that let half of the images which come to them go on, none of them near a tie."""
    total = 0
    for stage in range(len(cascade.thresholds)):
        total = total + cascade.probabilities(stage, images).double()
        sure = mean(total, stage + 1).amax(1).sort().values
        cascade.thresholds[stage] = float(sure[len(sure) // 2 - 1 : len(sure) // 2 + 1].mean())
        going_on = undecided(mean(total, stage + 1), cascade.thresholds[stage])
        images, total = images[going_on], total[going_on]
    cascade.reset_counts()
    return cascade
