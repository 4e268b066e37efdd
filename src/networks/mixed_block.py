"""A block that holds several operations, of which gates or a choice say what runs (FBNet, arXiv 1812.03443)."""

from collections.abc import Iterable

from torch import Tensor, nn


class MixedBlock(nn.Module):
    """`operations` o of one shape in and out: (B, C_in, H, W) -> (B, C_out, H / s, W / s).

    With gates a alone it is soft: sum_o a_o op_o(x), which runs every operation. With a choice it is one-path: only
    that operation runs, and where gates are given too, its output is multiplied by its gate, which straight-through
    makes exactly 1: the value is that of the operation, the gradient reaches the logits (GDAS, Dong and Yang 2019,
    https://arxiv.org/abs/1910.04465).
    """

    def __init__(self, operations: Iterable[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor, gates: Tensor | None = None, chosen: int | None = None) -> Tensor:
        """`gates` (O,) or longer, in the order of the operations. One operation alone needs neither, and no operation
        leaves x as it is: there gates and choice are not looked at.
        """
        if len(self.operations) < 2:
            return self.operations[0](x) if len(self.operations) else x
        if chosen is not None:
            y = self.operations[chosen](x)
            return y if gates is None else y * gates[chosen].to(y.dtype)
        total = None
        for operation, gate in zip(self.operations, gates[: len(self.operations)].unbind(), strict=True):
            y = operation(x)
            y = y * gate.to(y.dtype)
            total = y if total is None else total + y
        return total
