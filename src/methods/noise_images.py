"""How sure a network is of images that show nothing: its predictive entropy on Gaussian noise."""

import pytorch_lightning as pl
import torch

from src.networks.cascade import Cascade
from src.runtime.seeds import keyed_generator

IMAGES = 256


def noise_entropy(module: pl.LightningModule) -> dict[str, float]:
    """`test/noise_entropy`: in nats, the mean over images of unit variance in normalised space, keyed by the seed.

    Empty where the task knows no predictive entropy, and of a cascade, whose MACs are counted on what it is given.
    Call it in a test, on all ranks: each gives the same.
    """
    data, measure = module.trainer.datamodule, getattr(module.task, "predictive_entropy", None)
    shape = getattr(data, "input_shape", None)
    if measure is None or shape is None or isinstance(module.network, Cascade):
        return {}
    count = min(IMAGES, data.eval_batch_size)
    images = torch.randn(count, *shape, generator=keyed_generator(module.seed, "noise images")).to(module.device)
    precision = module.trainer.precision_plugin
    with torch.no_grad(), precision.test_step_context():
        outputs = module(precision.convert_input(images))
    return {"test/noise_entropy": float(measure(outputs).mean())}
