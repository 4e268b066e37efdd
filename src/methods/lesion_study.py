"""The lesion study of HourNAS: what a trained network still gets right with channels of one block reset to zero."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from src.graph.block_transforms import transforms
from src.graph.lesions import lesion_masks, lesion_outputs
from src.graph.op_macs import block_costs
from src.graph.vital_blocks import VitalBlocks
from src.reporting.vital_tables import BlockRow, Lesions
from src.runtime.ranks import stopping
from src.runtime.ranks.agreement import gathered
from src.runtime.ranks.sharding import own_share
from src.runtime.seeds import keyed_generator

Batches = Iterable[tuple[Tensor, Tensor]]


def lesion_study(
    network: nn.Module,
    found: VitalBlocks,
    rates: Sequence[float],
    task,
    batches: Batches,
    seed: int = 0,
    context=nullcontext,
) -> Lesions:
    """The accuracy (%) of `network` with each block's transform masked at each rate p, and without a lesion.

    One mask for each block and p, keyed by (seed, block, p), the same for all images. Several processes share the
    blocks; call it on all of them, each with all `batches`.

    Args:
        found: the blocks of this network.
        task: has `metrics()` with "error" in percent; accuracy is 100 minus that.
        batches: (images (B, C, H, W), targets).
        context: under which the network runs (mixed precision).

    Raises:
        SIGTERMException: one of the processes was told to stop, on all of them.
    """
    masks = lesion_masks(found, rates, lambda block, rate: keyed_generator(seed, "lesion", block, repr(float(rate))))
    blocks = list(dict.fromkeys(block for block, _ in masks))
    behind = {block: len(found.flow.nodes) - places[0].op for block, places in transforms(found).items() if places}
    own = {blocks[index] for index in own_share([behind[block] for block in blocks])}
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    metrics = {
        key: task.metrics(sync_on_compute=False).to(device) for key in [None, *masks] if not key or key[0] in own
    }
    own_masks = {key: mask for key, mask in masks.items() if key[0] in own}
    for images, targets in batches:
        if stopping.last_signal is not None:
            break
        images, targets = images.to(device), targets.to(device)
        with torch.no_grad(), context():
            for key, outputs in lesion_outputs(network, found, images, own_masks):
                metrics[key].update(outputs, targets)
    stopping.stop_if_told()
    accuracy = {key: 100.0 - float(metric.compute()["error"]) for key, metric in metrics.items()}
    merged = {key: value for part in gathered(accuracy) for key, value in part.items()}
    rates = tuple(float(rate) for rate in rates)
    return Lesions(merged[None], rates, {(block, float(p)): merged[block, p] for block, p in masks})


def first_images(batches: Batches, count: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `count` images of `batches`; None: all."""
    left = count
    for images, targets in batches:
        if left is None:
            yield images, targets
        elif left > 0:
            yield images[:left], targets[:left]
            left -= len(images[:left])
        else:
            return


def block_rows(network: nn.Module, found: VitalBlocks) -> list[BlockRow]:
    """What a report says of each block of `network`."""
    costs = block_costs(network, found)
    macs, params = (max(total, 1) for total in costs[""])
    rows = ((block, vital, *costs[block]) for block, vital in zip(found.blocks, found.flags, strict=True))
    return [BlockRow(block, vital, m, p, m / macs, p / params) for block, vital, m, p in rows]
