"""Stores what a member of a pool says of every sample: softmax in half precision, memory-mapped, member by member.

When to use: with `method=encas`. Cost: one forward pass of each member over the validation images, and of those on the
found front over the test images; 2 bytes for each sample, class and member on the disk.
"""

from dataclasses import replace

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from src.cascades.stored_outputs import Outputs
from src.errors import UserError
from src.methods.encas import ENCAS
from src.networks.cascade_rule import half_softmax
from src.tasks.heads import main_output

_EVERY_BATCHES = 10  # all ranks look for a signal


class MemberOutputs(pl.Callback):
    """Writes the batches of a `trainer.predict`: each rank the rows of its own images, by their numbers.

    A member whose pass was interrupted is not finished, and its next pass begins it again.
    """

    def __repr__(self) -> str:
        return "MemberOutputs()"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ENCAS):
            raise UserError(f"MemberOutputs needs method=encas, not {type(pl_module).__name__}")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: ENCAS) -> None:
        loader = trainer.predict_dataloaders
        self._rows = loader.sampler.batches()
        if trainer.is_global_zero:
            pl_module.begin_member(loader.sampler.count)
        trainer.strategy.barrier()

    def on_predict_batch_start(self, trainer: pl.Trainer, pl_module: ENCAS, batch, batch_idx: int) -> None:
        if trainer.world_size == 1 or batch_idx % _EVERY_BATCHES == 0:
            trainer._signal_connector.agree()
            if trainer.received_sigterm:
                raise SIGTERMException

    def on_predict_batch_end(self, trainer: pl.Trainer, pl_module: ENCAS, outputs, batch, batch_idx: int) -> None:
        rows, name = self._rows[batch_idx].numpy(), pl_module.storing.name
        kept = stored(name, main_output(outputs), batch[1], rows)
        if pl_module.varying:
            kept = replace(kept, macs=pl_module.network.image_macs.cpu().numpy())
        pl_module.folder.write(name, rows, kept)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: ENCAS) -> None:
        pl_module.folder.close()
        trainer.strategy.barrier()
        pl_module.finish_member()
        trainer.strategy.barrier()


def stored(name: str, logits: Tensor, labels: Tensor, rows: np.ndarray) -> Outputs:
    """What is kept of the logits (B, C) of the samples `rows` (B,); raises `UserError` where they are not finite.

    The softmax is that of a live cascade, to the last bit.
    """
    logits = logits.detach().float()
    odd = (~logits.isfinite().all(dim=1)).nonzero().flatten()
    if len(odd):
        raise UserError(f"member {name}: its logits hold NaN or infinity, first at sample {rows[int(odd[0])]}")
    top = logits.topk(min(2, logits.shape[1]), dim=1).values
    gaps = (top[:, 0] - top[:, -1]).clamp(max=torch.finfo(torch.float16).max)
    return Outputs(labels.cpu().numpy(), half_softmax(logits).cpu().numpy(), gaps.half().cpu().numpy())
