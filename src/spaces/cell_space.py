"""The cells of DARTS (https://arxiv.org/abs/1806.09055) as a search space: what each node reads, and how."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError, check_choices, check_flag, check_whole
from src.networks.cell_network import CellNetwork
from src.networks.cell_operations import NONE, OPERATIONS
from src.networks.cell_supernet import CellSupernet
from src.networks.genotypes import CELL_TYPES, cell_edges, checked_genotype
from src.runtime.build import network_from
from src.spaces.cell_configs import inner_config, plain_genotype, with_genotype
from src.spaces.cell_costs import cell_costs, choice_table, node_options, total_cost
from src.spaces.space import Band, Genotype, admissible_band
from src.spaces.uniform_feasible import uniform_within

_NETWORK = f"{CellNetwork.__module__}.{CellNetwork.__name__}"
_SUPERNET = f"{CellSupernet.__module__}.{CellSupernet.__name__}"
_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(CellNetwork).parameters.items()
    if parameter.default is not parameter.empty
}


class CellSpace:
    """Two cells, normal and reduction, of the same number of nodes. A genotype is as `CellNetwork` has it.

    `sample` draws genotypes in which each node has two different inputs with an operation each, as DARTS derives them,
    uniformly among all of them, and within a band of MACs uniformly among those that lie in it. Others, with more
    inputs or several operations on an edge, have configs and costs all the same.

    Args:
        base: model config of a `CellNetwork`, or of `variational` around one: what is around it stays around all
            configs of the space. Its genotype, `start`, need not be among those that are drawn.
        input_shape: (C, H, W) of the images.
        operations: O names of what an edge may have; None: all of DARTS but `none`. `none` is never drawn.
        nodes: of a cell; None: those of the base.

    Attributes:
        operations, nodes, edges: the O names, the number of nodes and (node, state) of each of the E edges.
        fixed, table: (2,) and (2, T, E, O) float64: MACs and parameters of what is not searched, and of each operation
            of each edge, in all cells of a type together.
        costs: of the L = T x nodes choices of a node, from which genotypes are drawn.

    Raises:
        UserError: the base is no such network, or a setting is not allowed.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        operations: Sequence[str] | None = None,
        nodes: int | None = None,
    ) -> None:
        self.base, self.input_shape = base, tuple(int(size) for size in input_shape)
        self.operations = _checked(OPERATIONS[1:] if operations is None else operations)
        inner = inner_config(base)
        if inner.get("_target_") != _NETWORK:
            raise UserError(
                f"cells are searched in a {_NETWORK} only, such as model=darts_digits; the model is "
                f"{inner.get('_target_')}"
            )
        with torch.device("meta"):
            self.start = plain_genotype(network_from(inner).genotype)
        counts = [len(self.start[cell]) for cell in CELL_TYPES]
        if nodes is None and counts[0] != counts[1]:
            raise UserError(
                f"the cells of the model have {counts[0]} and {counts[1]} nodes: give one whose cells have as many, or "
                "method.space.nodes where the method has it"
            )
        self.nodes = counts[0] if nodes is None else check_whole("method.space.nodes", nodes, 1, 20)
        self.edges = cell_edges(self.nodes)
        self.arguments = {**_DEFAULTS, **{key: value for key, value in inner.items() if key != "_target_"}}
        if self.arguments["in_channels"] != self.input_shape[0]:
            raise UserError(
                f"model.in_channels={self.arguments['in_channels']} is not allowed; of the images here it is "
                f"{self.input_shape[0]}"
            )
        flags = {name: self.arguments[name] for name in ("affine", "pool_norm")}
        options = {**flags, "skip_norm": self.arguments["normalise_outputs"]}
        least = {cell: [[["skip_connect", 0]]] * self.nodes for cell in CELL_TYPES}
        self.fixed, self.table = cell_costs(self._network(least), options, self.input_shape, self.operations)
        self._options = node_options(self.edges, self.operations)
        self.costs = choice_table(self.fixed, self.table, self._options)

    def _network(self, genotype: Mapping[str, Any]) -> CellNetwork:
        with torch.device("meta"):
            return CellNetwork(**{**self.arguments, "genotype": genotype})

    # genotypes, choices and masks

    def genotype(self, choice: Tensor | Sequence[int]) -> Genotype:
        """The genotype of a choice (L,): numbers of the options of each node, the normal cell first."""
        choice = torch.as_tensor(choice).tolist()
        found: Genotype = {cell: [] for cell in CELL_TYPES}
        for block, option in enumerate(choice):
            cell, node = divmod(block, self.nodes)
            places = (divmod(place, len(self.operations)) for place in self._options[node][option].tolist())
            found[CELL_TYPES[cell]].append([[self.operations[o], self.edges[edge][1]] for edge, o in places])
        return found

    def mask(self, genotype: Mapping[str, Any]) -> Tensor:
        """(T, E, O) bool: what a genotype has; `ValueError` where it has what is not in the space."""
        taken = torch.zeros(self.table.shape[1:], dtype=torch.bool)
        places = {edge: number for number, edge in enumerate(self.edges)}
        for cell, name in enumerate(CELL_TYPES):
            for node, inputs in enumerate(genotype[name]):
                for operation, state in inputs:
                    if operation not in self.operations or (node, state) not in places:
                        raise ValueError(f"{operation} from state {state} to node {node} is not in this space")
                    taken[cell, places[node, state], self.operations.index(operation)] = True
        return taken

    def costs_of(self, taken: Tensor) -> Tensor:
        """(..., 2) float64, MACs and parameters, whole numbers: of genotypes, or of live operations, as masks (..., T,
        E, O)."""
        return self.fixed + torch.einsum("...teo,kteo->...k", taken.to(self.table), self.table)

    def supernet_config(
        self,
        channels: int | None = None,
        layers: int | None = None,
        reductions: Sequence[int] | None = None,
        normalise_outputs: bool = False,
    ) -> dict[str, Any]:
        """The model config of the super-net of this space. None: as the base has it; reductions of another number of
        layers than the base has: at a third and two thirds of them."""
        check_flag("method.cells.normalise_outputs", normalise_outputs)
        own = self.arguments
        layers = own["layers"] if layers is None else layers
        if reductions is None and layers == own["layers"]:
            reductions = own["reductions"]
        return {
            "_target_": _SUPERNET,
            "operations": list(self.operations),
            "channels": own["channels"] if channels is None else channels,
            "layers": layers,
            "nodes": self.nodes,
            **{name: own[name] for name in ("num_classes", "in_channels", "stem_multiplier")},
            "reductions": None if reductions is None else list(reductions),
            "normalise_outputs": normalise_outputs,
        }

    # the promises of a search space

    def config(self, genotype: Mapping[str, Any]) -> dict[str, Any]:
        return with_genotype(self.base, plain_genotype(checked_genotype(genotype, "genotype")))

    def macs(self, genotype: Mapping[str, Any]) -> int:
        return self._total(genotype)[0]

    def params(self, genotype: Mapping[str, Any]) -> int:
        """The number of its parameters; what a variational network has beside its means is not counted."""
        return self._total(genotype)[1]

    def _total(self, genotype: Mapping[str, Any]) -> tuple[int, int]:
        """(MACs, parameters) of any genotype, in the space or not, as the start may be."""
        genotype = plain_genotype(checked_genotype(genotype, "genotype"))
        if set(genotype) == set(CELL_TYPES) and all(len(genotype[cell]) == self.nodes for cell in CELL_TYPES):
            names = {name for cell in CELL_TYPES for node in genotype[cell] for name, _ in node}
            if names <= set(self.operations):
                macs, params = self.costs_of(self.mask(genotype)).tolist()
                return int(macs), int(params)
        return total_cost(self._network(genotype), self.input_shape)

    def reachable(self) -> tuple[int, int]:
        """The least and the most MACs of a genotype that `sample` draws."""
        least, most = self.costs.reachable()["macs"]
        return int(least), int(most)

    def uniform(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent uniform choices (count, L)."""
        weights = self.costs.allowed.to(torch.float64)
        return torch.multinomial(weights, count, replacement=True, generator=generator).T.contiguous()

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[Genotype]:
        """`count` independent draws within `macs`; raises `UserError` where there is none, or none could be found."""
        if macs == (None, None):
            return [self.genotype(row) for row in self.uniform(count, generator)]
        low, high = admissible_band(self, macs)
        return [self.genotype(choice) for choice in uniform_within(self.costs, low, high, count, generator)]


def _checked(operations: Sequence[str]) -> list[str]:
    names = check_choices("method.space.operations", operations, OPERATIONS)
    if not set(names) - {NONE} or len(names) < len(operations):
        raise UserError(
            f"method.space.operations={list(operations)} is not allowed; it must name operations beside {NONE}, none "
            "of them twice"
        )
    return names
