"""The super-net of operations: each block holds those that may be chosen (FBNet, https://arxiv.org/abs/1812.03443)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.errors import UserError, check_whole
from src.networks.inverted_residual import InvertedResidualNet, block_of
from src.networks.macro import Macro, MobileNetwork
from src.networks.mixed_block import MixedBlock
from src.networks.operations import SKIP


class OperationSupernet(MobileNetwork):
    """A network whose L blocks are `MixedBlock`s: (B, in_channels, H, W) -> (B, num_classes).

    Args:
        choices: of each block the names of the operations that it holds, in the order of its gates. One: the block is
            fixed; none: it is left out, which only a block that keeps the shape can be.
        others: as `InvertedResidualNet` has them.

    Raises:
        UserError: a value is not allowed, named as the config has it (`model.choices[3][0]`).
    """

    def __init__(
        self,
        stem: list[int],
        stages: list[list[int]],
        choices: list[list[str]],
        head: int = 1280,
        num_classes: int = 10,
        in_channels: int = 3,
        se_ratio: float = 0.05,
        se_of: str = "expanded",
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        macro = Macro(stem, stages, head, num_classes, in_channels, se_ratio, se_of, dropout, activation)
        lists = isinstance(choices, (list, tuple)) and all(isinstance(names, (list, tuple)) for names in choices)
        if not lists or len(choices) != len(macro.blocks):
            raise UserError(
                f"model.choices={choices!r} is not allowed; it must be a list of {len(macro.blocks)} lists of names, "
                f"one for each block that model.stages={macro.stages} has"
            )
        blocks = []
        for block, (names, shape) in enumerate(zip(choices, macro.blocks, strict=True)):
            where = f"model.choices[{block}]"
            if not names and not shape.keeps:
                raise UserError(f"{where}=[] is not allowed; block {block} changes the shape and needs an operation")
            if len(set(names)) < len(names):
                raise UserError(f"{where}={list(names)} is not allowed; it has an operation twice")
            made = (block_of(macro, block, name, f"{where}[{index}]") for index, name in enumerate(names))
            blocks.append(MixedBlock(made))
        super().__init__(macro, blocks)
        self.choices = [list(names) for names in choices]

    def forward(
        self,
        images: Tensor,
        gates: Sequence[Tensor] | Tensor | None = None,
        chosen: Sequence[int] | None = None,
    ) -> Tensor:
        """Runs what `gates` and `chosen` say.

        Args:
            images: (B, in_channels, H, W).
            gates: of each block (O_l,), or of all (L, O) with columns to spare: alone, the weights of the sum of all
                operations; beside `chosen`, what the output of the chosen one is multiplied by.
            chosen: of each block the number of the one operation that runs, in `choices[l]`.

        Of blocks with one operation or none the entries of both are not looked at. Raises `UserError` where a block
        has several operations and neither is given, or where there are not as many entries as blocks.
        """
        for name, given in (("gates", gates), ("chosen", chosen)):
            if given is not None and len(given) != len(self.blocks):
                raise UserError(f"{name}: {len(given)} entries for the {len(self.blocks)} blocks of this super-net")
        if gates is None and chosen is None and any(len(names) > 1 for names in self.choices):
            raise UserError("a super-net with several operations in a block runs by gates or by a choice: give either")
        x = self.stem(images)
        for index, block in enumerate(self.blocks):
            x = block(
                x,
                None if gates is None else gates[index],
                None if chosen is None else int(chosen[index]),
            )
        return self.head(x)

    def chosen_operations(self, chosen: Sequence[int]) -> list[str]:
        """The names of the chosen operations (L,); a block that is left out is a `skip`."""
        if len(chosen) != len(self.choices):
            raise UserError(f"chosen: {len(chosen)} entries for the {len(self.choices)} blocks of this super-net")
        return [names[self._place(block, int(chosen[block]))] if names else SKIP for block, names in _numbered(self)]

    def extracted(self, chosen: Sequence[int]) -> InvertedResidualNet:
        """The network of the chosen operations, with copies of the weights, on their device and in the mode of this.

        In evaluation mode it computes, bit for bit, what the one-path forward computes.
        """
        names = self.chosen_operations(chosen)
        with torch.device("meta"):
            network = InvertedResidualNet(**self.macro.arguments(), operations=names)
        own = dict(self.state_dict(keep_vars=True))
        prefixes = {}
        for block, held in _numbered(self):
            if held:
                prefixes[f"blocks.{block}."] = f"blocks.{block}.operations.{self._place(block, int(chosen[block]))}."
        state = {}
        for name in network.state_dict():
            head = ".".join(name.split(".")[:2]) + "."
            source = own[prefixes.get(head, head) + name[len(head) :]]
            state[name] = source.detach().clone().requires_grad_(source.requires_grad)
        network.load_state_dict(state, assign=True)
        return network.train(self.training)

    def _place(self, block: int, number: int) -> int:
        """`number` as a place in `choices[block]`; a block with one operation has it whatever the number."""
        count = len(self.choices[block])
        return 0 if count == 1 else check_whole(f"chosen[{block}]", number, 0, count - 1)


def _numbered(network: OperationSupernet) -> list[tuple[int, list[str]]]:
    return list(enumerate(network.choices))
