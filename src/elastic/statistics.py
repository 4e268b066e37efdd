"""Running statistics of batch norms outside of the layers: what a path has for itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from src.elastic.selecting import Packed


def normalisations(model: nn.Module) -> list[nn.Module]:
    """The layers of `model` that keep running statistics, in the order of its modules."""
    return [m for m in model.modules() if isinstance(m, _NormBase) and m._buffers.get("running_mean") is not None]


@dataclass(frozen=True)
class Statistics:
    """A side store for all layers of `normalisations`: means and variances in a row, and the layers' counts of batches.

    `packed` says which entries of the layers' own statistics they stand for.
    """

    means: Tensor  # (kept,)
    variances: Tensor  # (kept,)
    batches: Tensor  # (layers,) int64
    packed: Packed
    # of a layer that writes nothing: in training mode it normalises each batch by itself
    NONE: ClassVar[dict[str, None]] = {"running_mean": None, "running_var": None, "num_batches_tracked": None}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """The buffers of each layer: views, through which a forward pass in training writes."""
        counts = self.packed.counts
        for values in zip(self.means.split(counts), self.variances.split(counts), self.batches.unbind(), strict=True):
            yield dict(zip(self.NONE, values, strict=True))

    @classmethod
    @torch.no_grad()
    def selected(cls, norms: Sequence[nn.Module], packed: Packed) -> "Statistics":
        """Copies of the entries of the layers' own statistics."""
        if not norms:
            return cls.fresh(norms, packed)
        means, variances = (torch.cat([m._buffers[name] for m in norms]) for name in ("running_mean", "running_var"))
        batches = torch.stack([module.num_batches_tracked for module in norms])
        return cls(means[packed.index], variances[packed.index], batches, packed)

    @classmethod
    def fresh(cls, norms: Sequence[nn.Module], packed: Packed) -> "Statistics":
        """Those of layers that have seen nothing."""
        dtype = norms[0].running_mean.dtype if norms else None
        means = torch.zeros(len(packed.index), dtype=dtype, device=packed.index.device)
        batches = torch.zeros(len(norms), dtype=torch.int64, device=means.device)
        return cls(means, torch.ones_like(means), batches, packed)

    @torch.no_grad()
    def write_back(self, norms: Sequence[nn.Module]) -> None:
        """Puts what is here into the entries of the layers' own statistics.

        As batch norm itself does, behind autograd's back: a graph that holds them, of another path on the same batch,
        does not read them in its backward pass.
        """
        if not norms:
            return
        self.packed.put_back(self.means, [module.running_mean.data for module in norms])
        self.packed.put_back(self.variances, [module.running_var.data for module in norms])
        torch._foreach_copy_([module.num_batches_tracked for module in norms], list(self.batches.unbind()))
