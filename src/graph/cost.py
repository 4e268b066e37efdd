"""MACs and parameters as polynomials in the widths, evaluated for thousands of width vectors at once.

A convolution costs positions x kernel x (inputs / groups) x outputs multiply-accumulates, and inputs and outputs are
linear in the widths. So both costs are quadratic forms w^T Q w of the homogeneous width vector w = (free widths, 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from src.graph.channel_graph import ChannelGraph
from src.graph.segments import Segments


@dataclass(frozen=True)
class CostPolynomial:
    """Exact costs of a network as a function of its free widths.

    `names` gives the order of the widths in a vector; MACs are those of convolution and linear layers, biases not
    counted, for one image; parameters are all parameters.
    """

    names: tuple[str, ...]
    macs_form: Tensor  # (G + 1, G + 1) float64
    params_form: Tensor  # (G + 1, G + 1) float64

    def vector(self, widths: Mapping[str, int] | Sequence[Mapping[str, int]]) -> Tensor:
        """Width dictionaries as the rows of a tensor (N, G)."""
        rows = [widths] if isinstance(widths, Mapping) else widths
        return torch.tensor([[row[name] for name in self.names] for row in rows], dtype=torch.float64)

    def macs(self, widths: Tensor | Mapping[str, int]) -> Tensor:
        """MACs of each width vector: (N, G) or (G,) -> (N,) or scalar, int64."""
        return self._evaluate(self.macs_form, widths)

    def params(self, widths: Tensor | Mapping[str, int]) -> Tensor:
        """Parameters of each width vector: (N, G) or (G,) -> (N,) or scalar, int64."""
        return self._evaluate(self.params_form, widths)

    def _evaluate(self, form: Tensor, widths: Tensor | Mapping[str, int]) -> Tensor:
        if isinstance(widths, Mapping):
            widths = self.vector(widths)[0]
        widths = widths.to(torch.float64)
        # (w, 1) Q (w, 1)^T without building (w, 1): quadratic, linear and constant part
        rows = widths.reshape(prod(widths.shape[:-1]), len(self.names))  # there may be no name at all
        product = torch.addmm(form[:-1, -1] + form[-1, :-1], rows, form[:-1, :-1])
        values = torch.linalg.vecdot(product, rows) + form[-1, -1]
        # integers up to 2^53 are exact in float64; rounding removes the error of divisions by a number of groups
        return values.round_().to(torch.int64).reshape(widths.shape[:-1])


def cost_polynomial(graph: ChannelGraph) -> CostPolynomial:
    """The cost polynomials of `graph` in its free widths."""
    free = {graph.index[group.name]: position for position, group in enumerate(graph.free)}
    size = len(free) + 1

    def linear_form(segments: Segments, divisor: int = 1) -> Tensor:
        form = torch.zeros(size, dtype=torch.float64)
        for group, times in segments:
            if group in free:
                form[free[group]] += float(times) / divisor
            else:
                form[-1] += float(graph.groups[group].width * times) / divisor
        return form

    one = torch.zeros(size, dtype=torch.float64)
    one[-1] = 1
    macs = torch.zeros(size, size, dtype=torch.float64)
    for layer in graph.layers:
        inputs = one if layer.kind == "depthwise" else linear_form(layer.inputs, layer.groups)
        macs += layer.positions * layer.kernel * torch.outer(inputs, linear_form(layer.outputs))
    slots: dict[str, list] = {}
    for slot in graph.slots:
        slots.setdefault(slot.tensor, []).append(slot)
    params = torch.zeros(size, size, dtype=torch.float64)
    for name, shape in graph.parameter_shapes.items():
        forms = [linear_form(slot.segments, slot.divisor) for slot in slots.get(name, [])]
        rest = prod(shape) // prod(shape[slot.dim] for slot in slots.get(name, [])) if 0 not in shape else 0
        first, second = [*forms, one, one][:2]
        params += rest * torch.outer(first, second)
    return CostPolynomial(tuple(group.name for group in graph.free), macs, params)
