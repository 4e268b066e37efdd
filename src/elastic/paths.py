"""From a choice of channels to what is selected of each tensor of a network."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from src.elastic.index_sets import Choice, IndexSet, Selection, selection
from src.elastic.selecting import Index, Kept, Packed, Picked, as_index
from src.elastic.statistics import normalisations
from src.errors import UserError, did_you_mean
from src.graph.channel_graph import ChannelGraph

_CACHED = 20_000  # index tensors


@dataclass(frozen=True)
class Path:
    """A choice of channels, made ready for forward passes on one device."""

    choice: Choice
    sizes: tuple[int, ...]  # channels kept, of every group of the graph
    is_full: bool
    indices: tuple[Index | None, ...] = field(repr=False)  # of each weight; None where it stays whole
    vectors: Packed = field(repr=False)  # of the parameters with one dimension
    norms: Packed = field(repr=False)  # of the running statistics


@dataclass(frozen=True)
class ElasticTensor:
    """A parameter or buffer that follows widths: where it lies, and the kinds of its dimensions."""

    name: str
    owner: nn.Module
    table: dict[str, Tensor]  # the owner's parameters or buffers
    leaf: str
    dims: tuple[tuple[int, int], ...]  # (dimension, number of its kind)

    @property
    def whole(self) -> Tensor:
        return self.table[self.leaf]


class Paths:
    """The tensors of `model` that follow widths, and the paths through them.

    Attributes:
        norms: the layers with running statistics, in the order of the model's modules.
        weights: parameters and buffers that follow widths, those of `vectors` and the running statistics left out.
        vectors: the parameters of one dimension.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self.model, self.graph = model, graph
        self.norms = normalisations(model)
        self._multiples = [group.multiple for group in graph.groups]
        self._full = [IndexSet.full(group.width) for group in graph.groups]
        self._kinds: list[tuple] = []  # (segments, divisor) of dimensions
        elastic = self._elastic_tensors()
        statistics = ("running_mean", "running_var")
        followed = {id(norm) for norm in self.norms}
        kinds = {id(t.owner): t.dims[0][1] for t in elastic if t.leaf in statistics}
        self._norm_kinds = [kinds.get(id(norm)) for norm in self.norms]  # by place: a copy has other modules
        elastic = [tensor for tensor in elastic if id(tensor.owner) not in followed or tensor.leaf not in statistics]
        self.vectors = [
            tensor for tensor in elastic if isinstance(tensor.whole, nn.Parameter) and tensor.whole.dim() == 1
        ]
        self.weights = [tensor for tensor in elastic if tensor not in self.vectors]
        self._index_cache: dict[tuple, Any] = {}

    def _elastic_tensors(self) -> list[ElasticTensor]:
        free = {self.graph.index[group.name] for group in self.graph.free}
        numbers: dict[tuple, int] = {}
        dims: dict[str, list[tuple[int, int]]] = {}
        for slot in self.graph.slots:
            if any(group in free for group, _ in slot.segments):
                kind = numbers.setdefault((slot.segments, slot.divisor), len(numbers))
                dims.setdefault(slot.tensor, []).append((slot.dim, kind))
        self._kinds = list(numbers)
        found = []
        for name, sides in dims.items():
            path, _, leaf = name.rpartition(".")
            owner = self.model.get_submodule(path)
            table = owner._buffers if leaf in owner._buffers else owner._parameters
            found.append(ElasticTensor(name, owner, table, leaf, tuple(sorted(sides))))
        return found

    def path(self, choice: Choice) -> Path:
        """`choice`, checked and made ready; raises `UserError` for a group or a set of channels that is not there."""
        sets = list(self._full)
        for name, chosen in choice.items():
            sets[self._checked(name, chosen)] = chosen
        device = self._device()
        kept = [
            self._kept(kind, segments, divisor, sets, device) for kind, (segments, divisor) in enumerate(self._kinds)
        ]
        indices = tuple(as_index([(dim, kept[kind]) for dim, kind in tensor.dims]) for tensor in self.weights)
        vectors = Packed.of(
            [self._listed(kept[t.dims[0][1]], len(t.whole), device) for t in self.vectors],
            [len(t.whole) for t in self.vectors],
        )
        lengths = [len(module.running_mean) for module in self.norms]
        places = zip(self._norm_kinds, lengths, strict=True)
        norms = Packed.of([self._listed(None if k is None else kept[k], n, device) for k, n in places], lengths)
        is_full = all(entry.is_full for entry in sets)
        return Path(dict(choice), tuple(map(len, sets)), is_full, indices, vectors, norms)

    def _checked(self, name: str, chosen: IndexSet) -> int:
        """The number of the group `name`, which must be free and have channels as `chosen` has them."""
        number = self.graph.index.get(name)
        if number is None or self.graph.groups[number].frozen:
            frozen = number is not None and self.graph.groups[number].frozen
            names = [group.name for group in self.graph.free]
            why = f"its width cannot change: {frozen}" if frozen else did_you_mean(name, names)
            raise UserError(f"there is no width group {name!r} to choose channels of; {why}")
        size, multiple = self.graph.groups[number].width, self._multiples[number]
        if chosen.size != size or not chosen.is_set:
            raise UserError(f"width group {name!r} has {size} channels; {chosen} is no choice of them")
        if multiple > 1 and not chosen.repeats(multiple):
            raise UserError(f"width group {name!r} lies in {multiple} blocks, which must all keep the same channels")
        return number

    def _kept(self, kind: int, segments, divisor: int, sets: list[IndexSet], device: torch.device) -> Kept:
        """What is kept of a kind of dimension."""
        key = (kind, device, *(sets[group] for group, _ in segments))
        if key not in self._index_cache:
            if len(self._index_cache) > _CACHED:
                self._index_cache.clear()
            found: Selection | Picked = selection(segments, divisor, sets, self._multiples)
            if isinstance(found, tuple):
                size = sum(len(self._full[group]) * times for group, times in segments) // divisor
                found = Picked.of(torch.tensor(found, device=device), size)
            self._index_cache[key] = found
        return self._index_cache[key]

    def _listed(self, kept: Kept, length: int, device: torch.device) -> Tensor:
        """The same as an int64 tensor, of a vector of `length`."""
        if isinstance(kept, Picked):
            return kept.index
        count = length if kept is None else kept.stop
        if (count, device) not in self._index_cache:
            self._index_cache[count, device] = torch.arange(count, device=device)
        return self._index_cache[count, device]

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device
