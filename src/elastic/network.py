"""A super-net of channel widths: any traced network, whose weights serve every choice of channels.

The forward is the model's own. For a path each tensor that follows a width is put aside, and the selected part of it
put in its place: a slice for the first channels, gathered rows and columns for any others. Where all channels are kept
the model runs untouched. Gradients flow into the whole tensors; what a path does not select gets a gradient of zero,
which weight decay and momentum still move.

Statistics of batch norms are no property of a width: a path's inputs differ with the channels before it. So a forward
is told where they are: see `ElasticNetwork.forward`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from src.elastic.index_sets import Choice
from src.elastic.paths import Path, Paths
from src.elastic.selecting import selected
from src.elastic.statistics import Statistics, normalisations
from src.graph.channel_graph import ChannelGraph
from src.graph.resize import describe, describe_norm, resized

_DESCRIBED = (
    *("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_parameters"),
    *("num_groups", "num_channels", "normalized_shape"),
)


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
        self._paths = Paths(self.model, self.graph)
        self._described = self._modules_described()

    @property
    def norms(self) -> list[nn.Module]:
        """The layers with running statistics, in the order of the model's modules."""
        return self._paths.norms

    def path(self, choice: Choice) -> Path:
        """`choice`, checked and made ready; raises `UserError` for a group or a set of channels that is not there."""
        return self._paths.path(choice)

    def _modules_described(self) -> list[tuple[nn.Module, dict[str, Any], bool, Any]]:
        """Modules whose attributes tell a width: with those of today, and the segments of a norm without vectors."""
        depthwise = {layer.name for layer in self.graph.layers if layer.kind == "depthwise"}
        elastic = [*self._paths.weights, *self._paths.vectors]
        owners = {tensor.name.rpartition(".")[0]: tensor.owner for tensor in elastic}
        owners |= {name: self.model.get_submodule(name) for name in self.graph.norms}
        return [
            (
                module,
                {key: module.__dict__[key] for key in _DESCRIBED if key in module.__dict__},
                name in depthwise,
                self.graph.norms.get(name),
            )
            for name, module in owners.items()
        ]

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
                for tensor, index in zip(self._paths.weights, path.indices, strict=True):
                    if index is not None:
                        replace(tensor.table, tensor.leaf, selected(tensor.whole, index))
                parts = path.vectors.parts([tensor.whole for tensor in self._paths.vectors])
                for tensor, part in zip(self._paths.vectors, parts, strict=True):
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
                describe_norm(module, int(sum(path.sizes[group] * times for group, times in norm)))

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
            for tensor, index in zip(self._paths.weights, path.indices, strict=True)
        ]
        parts += path.vectors.parts([tensor.whole for tensor in self._paths.vectors])
        for tensor, part in zip([*self._paths.weights, *self._paths.vectors], parts, strict=True):
            tensors[tensor.name].data = part.detach().clone()  # what was drawn need not have its type and device
        stores = self.selected_statistics(path) if statistics is None else statistics
        for module, buffers in zip(normalisations(network), stores, strict=True):
            for leaf, value in buffers.items():
                module._buffers[leaf] = value.clone()
        return network
