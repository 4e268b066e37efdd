"""Which operation each block of a mobile network has: the search space of HourNAS (arXiv 2005.14446) and FBNet."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError, check_flag, did_you_mean
from src.graph.vital_blocks import vital_blocks
from src.networks.inverted_residual import InvertedResidualNet
from src.networks.operation_supernet import OperationSupernet
from src.networks.operations import SKIP, Operation, operation_named
from src.runtime.build import network_from
from src.runtime.seeds import seeded
from src.spaces.cost_table import CostTable
from src.spaces.operation_costs import block_sizes, fixed_cost, operation_cost
from src.spaces.space import Band, admissible_band
from src.spaces.uniform_feasible import uniform_within

OPERATIONS = tuple(Operation(kernel, n, se).name for se in (False, True) for kernel in (3, 5) for n in (1, 3, 6))
_NETWORK = f"{InvertedResidualNet.__module__}.{InvertedResidualNet.__name__}"
_SUPERNET = f"{OperationSupernet.__module__}.{OperationSupernet.__name__}"


class OperationSpace:
    """One of O operations for each of L blocks. A genotype is {"operations": [name of each block]}.

    Blocks are *vital* that every path from input to output runs through; of the others each may be left out (`skip`).
    A choice is an int64 tensor (L,) of numbers in `operations`.

    `sample` draws uniformly among all choices, within a band of MACs uniformly among those that lie in it.

    Args:
        base: model config of an `InvertedResidualNet`; its genotype, `start`, need not be in the space.
        input_shape: (C, H, W) of the images.
        operations: names of what every block may take. None: kernel 3 or 5, expansion 1, 3 or 6, each with and without
            squeeze-and-excitation.
        skip: whether non-vital blocks may be left out.

    Raises:
        UserError: the base is no such network, or a name is no operation.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        operations: Sequence[str] | None = None,
        skip: bool = True,
    ) -> None:
        check_flag("method.space.skip", skip)
        meta = base.get("_target_") == _NETWORK  # of others not all can be made there
        with torch.device("meta") if meta else seeded(0, "operation space"):
            network = network_from(base)
        if not isinstance(network, InvertedResidualNet):
            raise UserError(
                f"operations are searched in a {_NETWORK} only, such as model=mobile_digits, mobile_cifar, hournas_f "
                f"and fbnet_c; {base.get('_target_')} gives a {type(network).__name__}"
            )
        self.input_shape = tuple(int(size) for size in input_shape)
        self.macro = network.macro
        self.start = {"operations": list(network.operations)}
        self._check_widths(network, base)
        names = _checked(OPERATIONS if operations is None else operations)
        self.vital = self._found_vital(names[0])
        self.operations = (*names, SKIP) if skip and not all(self.vital) else names
        self._sizes = block_sizes(self.macro, self.input_shape)[:-1]
        self.costs = self._cost_table()

    def _check_widths(self, network: InvertedResidualNet, base: Mapping[str, Any]) -> None:
        """Raises `UserError` where the widths of blocks are not what their operations make them."""
        with torch.device("meta"):
            plain = InvertedResidualNet(**self.macro.arguments(), **self.start)
        own, others = ([value.shape for value in net.state_dict().values()] for net in (network, plain))
        if own != others:
            raise UserError(
                f"{base.get('_target_')} gives a network whose widths another search has changed: operations cannot be "
                "searched in it; search the operations first (method=hournas), and the widths of what that has found"
            )

    def _found_vital(self, operation: str) -> tuple[bool, ...]:
        """Of each block whether it is vital; in the network that leaves none out, as what is not there is no block."""
        with torch.device("meta"):
            network = InvertedResidualNet(**self.macro.arguments(), operations=operation)
        paths = [f"blocks.{block}" for block in range(len(self.macro.blocks))]
        return vital_blocks(network, self.input_shape, paths).flags

    def _cost_table(self) -> CostTable:
        allowed = torch.tensor([[name != SKIP or not vital for name in self.operations] for vital in self.vital])
        costs = [
            [self._cost(block, name) if may else (0, 0) for name, may in zip(self.operations, row, strict=True)]
            for block, row in enumerate(allowed.tolist())
        ]
        table = torch.tensor(costs, dtype=torch.float64).permute(2, 0, 1).contiguous()
        fixed = torch.tensor(fixed_cost(self.macro, self.input_shape), dtype=torch.float64)
        return CostTable(("macs", "params"), fixed, table, allowed)

    def _cost(self, block: int, name: str) -> tuple[int, int]:
        return operation_cost(self.macro, self.macro.blocks[block], self._sizes[block], name)

    # genotypes and choices

    def genotype(self, choice: Tensor | Sequence[int]) -> dict[str, list[str]]:
        """The genotype of a choice (L,)."""
        return {"operations": [self.operations[number] for number in torch.as_tensor(choice).tolist()]}

    def choice(self, genotype: Mapping[str, Sequence[str]]) -> Tensor:
        """The choice (L,) of a genotype; `UserError` where a block may not take its operation in this space."""
        names = self._names(genotype)
        for block, (name, vital) in enumerate(zip(names, self.vital, strict=True)):
            if name not in self.operations:
                raise UserError(
                    f"block {block}: {name!r} is no operation of this search space; "
                    f"{did_you_mean(str(name), self.operations)}"
                )
            if name == SKIP and vital:
                raise UserError(f"block {block} is vital: it cannot be left out ({SKIP!r})")
        return torch.tensor([self.operations.index(name) for name in names])

    def _names(self, genotype: Mapping[str, Sequence[str]]) -> list[str]:
        names = list(genotype.get("operations", ()))
        if len(names) != len(self.vital):
            raise UserError(f"a genotype of this space names {len(self.vital)} operations, not {len(names)}")
        return names

    def allowed(self, block: int) -> list[str]:
        """The names of what a block may take, in the order of `operations`."""
        return [name for name, may in zip(self.operations, self.costs.allowed[block].tolist(), strict=True) if may]

    def supernet_config(self, choices: Sequence[Sequence[str]] | None = None) -> dict[str, Any]:
        """The model config of the super-net whose blocks hold `choices`; None: all that each may take."""
        if choices is None:
            choices = [self.allowed(block) for block in range(len(self.vital))]
        return {"_target_": _SUPERNET, **self.macro.arguments(), "choices": [list(names) for names in choices]}

    # the promises of a search space

    def config(self, genotype: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        return {"_target_": _NETWORK, **self.macro.arguments(), "operations": self._names(genotype)}

    def macs(self, genotype: Mapping[str, Sequence[str]]) -> int:
        return self._total(genotype)[0]

    def params(self, genotype: Mapping[str, Sequence[str]]) -> int:
        return self._total(genotype)[1]

    def _total(self, genotype: Mapping[str, Sequence[str]]) -> list[int]:
        """(MACs, parameters) of any genotype of the macro, in the space or not, as the start may be."""
        costs = [self._cost(block, name) for block, name in enumerate(self._names(genotype))]
        return [sum(own) for own in zip(fixed_cost(self.macro, self.input_shape), *costs, strict=True)]

    def reachable(self) -> tuple[int, int]:
        least, most = self.costs.reachable()["macs"]
        return int(least), int(most)

    def uniform(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent uniform choices (count, L)."""
        weights = self.costs.allowed.to(torch.float64)
        return torch.multinomial(weights, count, replacement=True, generator=generator).T.contiguous()

    def sample(self, count: int, generator: torch.Generator, macs: Band = (None, None)) -> list[dict[str, list[str]]]:
        """`count` independent draws within `macs`; raises `UserError` where there is none, or none could be found."""
        if macs == (None, None):
            return [self.genotype(row) for row in self.uniform(count, generator)]
        low, high = admissible_band(self, macs)
        choices = uniform_within(self.costs, low, high, count, generator)
        return [self.genotype(choice) for choice in choices]


def _checked(operations: Sequence[str]) -> tuple[str, ...]:
    """The names of operations but `skip`, each once."""
    where = "method.space.operations"
    if not isinstance(operations, (list, tuple)) or not operations:
        raise UserError(f"{where}={operations!r} is not allowed; it must be a list of names such as {OPERATIONS[0]}")
    for index, name in enumerate(operations):
        if operation_named(name, f"{where}[{index}]") is None:
            raise UserError(f"{where}[{index}]={SKIP!r} is not allowed; non-vital blocks have it by method.space.skip")
    if len(set(operations)) < len(operations):
        raise UserError(f"{where}={list(operations)} is not allowed; it has an operation twice")
    return tuple(operations)
