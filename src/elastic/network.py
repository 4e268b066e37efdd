"""A super-net of channel widths: any traced network, whose weights serve every choice of channels.

The forward is the model's own. For a path each tensor that follows a width is put aside, and the selected part of it
put in its place: a slice for the first channels, one gather of rows and columns together for any others. Where all
channels are kept the model runs untouched. Gradients flow into the whole tensors; what a path does not select gets a
gradient of zero, which weight decay and momentum still move.

Statistics of batch norms are no property of a width: a path's inputs differ with the channels before it. So a forward
is told where they are: see `ElasticNetwork.forward`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from src.elastic.index_sets import Choice, IndexSet, Selection, selection
from src.elastic.selecting import Index, Kept, Packed, Picked, as_index, selected
from src.elastic.statistics import Statistics, normalisations
from src.errors import UserError, did_you_mean
from src.graph.channel_graph import ChannelGraph
from src.graph.resize import describe, describe_norm, resized

_DESCRIBED = (
    *("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_parameters"),
    *("num_groups", "num_channels", "normalized_shape"),
)
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
class _ElasticTensor:
    """A parameter or buffer that follows widths: where it lies, and the kinds of its dimensions."""

    name: str
    owner: nn.Module
    table: dict[str, Tensor]  # the owner's parameters or buffers
    leaf: str
    dims: tuple[tuple[int, int], ...]  # (dimension, number of its kind)

    @property
    def whole(self) -> Tensor:
        return self.table[self.leaf]


class ElasticNetwork(nn.Module):
    """`model` with elastic widths: (B, C, H, W) -> what the model gives, at any choice of channels.

    Args:
        model: what `graph` was made of; its weights are those of the super-net.
        graph: its channel graph. Tied layers share a group, so they share the set of channels.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        super().__init__()
        self.model, self.graph = model, graph
        self.bind()

    def bind(self) -> None:
        """Looks where the tensors lie; to be called again after modules of the model were replaced by others."""
        model, graph = self.model, self.graph
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
        self._vectors = [
            tensor for tensor in elastic if isinstance(tensor.whole, nn.Parameter) and tensor.whole.dim() == 1
        ]
        self._weights = [tensor for tensor in elastic if tensor not in self._vectors]
        self._depthwise = {layer.name for layer in graph.layers if layer.kind == "depthwise"}
        self._described = self._modules_described(elastic)
        self._index_cache: dict[tuple, Any] = {}

    def _elastic_tensors(self) -> list[_ElasticTensor]:
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
            found.append(_ElasticTensor(name, owner, table, leaf, tuple(sorted(sides))))
        return found

    def _modules_described(self, elastic: list[_ElasticTensor]) -> list[tuple[nn.Module, dict[str, Any], bool, Any]]:
        """Modules whose attributes tell a width: with those of today, and the segments of a norm without vectors."""
        owners = {tensor.name.rpartition(".")[0]: tensor.owner for tensor in elastic}
        owners |= {name: self.model.get_submodule(name) for name in self.graph.norms}
        return [
            (
                module,
                {key: module.__dict__[key] for key in _DESCRIBED if key in module.__dict__},
                name in self._depthwise,
                self.graph.norms.get(name),
            )
            for name, module in owners.items()
        ]

    # choices

    def path(self, choice: Choice) -> Path:
        """`choice`, checked and made ready; raises `UserError` for a group or a set of channels that is not there."""
        sets = list(self._full)
        for name, chosen in choice.items():
            sets[self._checked(name, chosen)] = chosen
        device = self._device()
        kept = [
            self._kept(kind, segments, divisor, sets, device) for kind, (segments, divisor) in enumerate(self._kinds)
        ]
        indices = tuple(as_index([(dim, kept[kind]) for dim, kind in tensor.dims]) for tensor in self._weights)
        vectors = Packed.of(
            [self._listed(kept[t.dims[0][1]], len(t.whole), device) for t in self._vectors],
            [len(t.whole) for t in self._vectors],
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

    # forward passes

    def forward(self, images: Tensor, path: Path | None = None, statistics: Statistics | str | None = "live") -> Any:
        """The outputs of `path` (None: all channels) for images (B, C, H, W).

        Args:
            statistics: of the batch norms. "live": the model's own; in training the selected entries are written
                back. None: nothing is written, so that in training each batch has its own. Or a side store, which is
                read in evaluation and written in training.
        """
        if path is None or path.is_full:
            if statistics == "live":
                return self.model(images)
            path = path or self.path({})
        live = statistics == "live"
        if live or (statistics is None and not self.training):
            statistics = self.selected_statistics(path)
        with self._in_place(path, statistics):
            outputs = self.model(images)
        if live and self.training:
            statistics.write_back(self.norms)
        return outputs

    @contextmanager
    def _in_place(self, path: Path, statistics: Statistics | None) -> Iterator[None]:
        """The selected tensors in the place of the whole ones."""
        aside: list[tuple[dict, str, Tensor]] = []

        def replace(table: dict, leaf: str, value: Tensor | None) -> None:
            aside.append((table, leaf, table[leaf]))
            table[leaf] = value

        try:
            if not path.is_full:
                for tensor, index in zip(self._weights, path.indices, strict=True):
                    if index is not None:
                        replace(tensor.table, tensor.leaf, selected(tensor.whole, index))
                parts = path.vectors.parts([tensor.whole for tensor in self._vectors])
                for tensor, part in zip(self._vectors, parts, strict=True):
                    replace(tensor.table, tensor.leaf, part)
                self._describe(path)
            stores = [Statistics.NONE] * len(self.norms) if statistics is None else statistics
            for module, buffers in zip(self.norms, stores, strict=True):
                for leaf, value in buffers.items():
                    replace(module._buffers, leaf, value)
            yield
        finally:
            for table, leaf, whole in reversed(aside):
                table[leaf] = whole
            if not path.is_full:
                for module, attributes, _, _ in self._described:
                    module.__dict__.update(attributes)

    def _describe(self, path: Path) -> None:
        for module, _, depthwise, norm in self._described:
            describe(module, depthwise)
            if norm is not None:
                describe_norm(module, sum(path.sizes[group] * times for group, times in norm))

    # statistics of batch norms

    def selected_statistics(self, path: Path) -> Statistics:
        """A copy of the selected entries of the model's own statistics."""
        return Statistics.selected(self.norms, path.norms)

    @torch.no_grad()
    def calibrated(
        self, path: Path, batches: Iterable[Tensor], note: Callable[[int, Any], None] | None = None
    ) -> Statistics:
        """Statistics of `path` alone: the mean over `batches` of images (B, C, H, W) of what each batch gives.

        The batch norms run in training mode, all else in evaluation mode: dropout would not be there when the
        statistics are used. Nothing of the super-net changes. `note` is told the number of each batch and its outputs.
        """
        norms, modes = self.norms, [module.training for module in self.modules()]
        momenta = [module.momentum for module in norms]
        statistics = Statistics.fresh(norms, path.norms)
        try:
            self.eval()
            for module in norms:
                module.training, module.momentum = True, None
            for number, images in enumerate(batches):
                outputs = self(images, path, statistics)
                if note is not None:
                    note(number, outputs)
        finally:
            for module, mode in zip(self.modules(), modes, strict=True):
                module.training = mode
            for module, momentum in zip(norms, momenta, strict=True):
                module.momentum = momentum
        return statistics

    # networks of their own

    @torch.no_grad()
    def extracted(self, path: Path, statistics: Statistics | None = None) -> nn.Module:
        """The network of `path` as one of its own, with the weights and (or else `statistics`) that it has here."""
        widths = {group.name: path.sizes[self.graph.index[group.name]] for group in self.graph.free}
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten
            network = resized(self.model, widths, self.graph.input_shape, self.graph)
        tensors = dict([*network.named_parameters(), *network.named_buffers()])
        parts = [
            tensor.whole if index is None else selected(tensor.whole, index)
            for tensor, index in zip(self._weights, path.indices, strict=True)
        ]
        parts += path.vectors.parts([tensor.whole for tensor in self._vectors])
        for tensor, part in zip([*self._weights, *self._vectors], parts, strict=True):
            tensors[tensor.name].data = part.detach().clone()  # what was drawn need not have its type and device
        stores = self.selected_statistics(path) if statistics is None else statistics
        for module, buffers in zip(normalisations(network), stores, strict=True):
            for leaf, value in buffers.items():
                module._buffers[leaf] = value.clone()
        return network
