"""Sub-nets of an elastic mobile network as rows of genes, and back (NAT and ENCAS; section 1.7 of the specification).

A row holds, in this order: the resolution; the width multiplier (where blocks choose for themselves, or there are
several); the stem; of each stage its width and then either a gene for each block that it may have (OFA), or depth,
kernel and expansion (AlphaNet); the last convolution. What has one value only has no gene, but for resolution and
multiplier. So OFA has 22 genes and AlphaNet 28, as published.

A gene of a block is i_e x (number of kernels) + i_k, of the i_e-th expansion and the i_k-th kernel. In blocks that may
be left out it is one more, and 0 leaves the block out, and with it the later blocks of the stage, whose genes are then
ignored. NAT adds one everywhere, and its genes 0 of blocks that must be there have to be repaired; here there are none.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from src.errors import UserError
from src.networks.elastic_mobile.macro import ElasticMacro, check_genotype


class Choices(NamedTuple):
    """What N rows choose, as int64 indices into the choices of the macro; of S stages, each of up to D blocks."""

    resolutions: np.ndarray  # (N,)
    multipliers: np.ndarray  # (N,)
    stems: np.ndarray  # (N,)
    widths: list[np.ndarray]  # S x (N,)
    depths: list[np.ndarray]  # S x (N,), numbers of blocks, no indices
    kernels: list[np.ndarray]  # S x (N, D); of blocks that are not there any
    expansions: list[np.ndarray]  # S x (N, D)
    lasts: np.ndarray  # (N,)


class SubnetRows:
    """The genes of a macro: `names` and `alphabet`, int64 (d,): gene j goes from 0 to alphabet[j] - 1."""

    def __init__(self, macro: ElasticMacro) -> None:
        self.macro = macro
        genes = {"resolution": len(macro.resolutions)}
        if len(macro.multipliers) > 1 or any(stage.per_block and _pairs(stage) > 1 for stage in macro.stages):
            genes["width"] = len(macro.multipliers)
        open_ = {"stem": len(macro.stems)}
        for index, stage in enumerate(macro.stages):
            open_[f"stage{index}.width"] = len(stage.widths)
            if stage.per_block:
                for block in range(max(stage.depths)):
                    open_[f"stage{index}.block{block}"] = _pairs(stage) + (block >= min(stage.depths))
            else:
                open_[f"stage{index}.depth"] = len(stage.depths)
                open_[f"stage{index}.kernel"] = len(stage.kernels)
                open_[f"stage{index}.expansion"] = len(stage.expansions)
        open_["last"] = len(macro.lasts)
        genes |= {name: size for name, size in open_.items() if size > 1}
        self.names = tuple(genes)
        self.alphabet = np.array(list(genes.values()), dtype=np.int64)
        self._column = {name: column for column, name in enumerate(self.names)}

    def checked(self, rows: np.ndarray) -> np.ndarray:
        """`rows` as int64 (N, d); raises `UserError` where they are none of this space."""
        rows = np.asarray(rows)
        whole = np.issubdtype(rows.dtype, np.integer) or rows.size == 0
        if rows.ndim != 2 or rows.shape[1] != len(self.alphabet) or not whole:
            raise UserError(
                f"rows of this space have {len(self.alphabet)} whole genes each; given was an array of shape "
                f"{rows.shape} and type {rows.dtype}"
            )
        wrong = (rows < 0) | (rows >= self.alphabet)
        if wrong.any():
            row, gene = np.argwhere(wrong)[0]
            raise UserError(
                f"row {row}: gene {gene} ({self.names[gene]}) is {rows[row, gene]}; it must be from 0 to "
                f"{self.alphabet[gene] - 1}"
            )
        return rows.astype(np.int64)

    def choices(self, rows: np.ndarray) -> Choices:
        """What `rows` (N, d) choose."""
        rows = self.checked(rows)
        widths, depths, kernels, expansions = [], [], [], []
        for index, stage in enumerate(self.macro.stages):
            widths.append(self._gene(rows, f"stage{index}.width"))
            slots = max(stage.depths)
            if stage.per_block:
                genes = np.stack([self._gene(rows, f"stage{index}.block{block}") for block in range(slots)], axis=1)
                optional = np.arange(slots) >= min(stage.depths)
                there = np.logical_and.accumulate((genes > 0) | ~optional, axis=1).sum(1)
                allowed = np.array(stage.depths)
                depths.append(allowed[np.searchsorted(allowed, there, side="right") - 1])
                pairs = np.maximum(genes - optional, 0)
                kernels.append(pairs % len(stage.kernels))
                expansions.append(pairs // len(stage.kernels))
            else:
                depths.append(np.array(stage.depths)[self._gene(rows, f"stage{index}.depth")])
                kernels.append(np.repeat(self._gene(rows, f"stage{index}.kernel")[:, None], slots, axis=1))
                expansions.append(np.repeat(self._gene(rows, f"stage{index}.expansion")[:, None], slots, axis=1))
        first = (self._gene(rows, name) for name in ("resolution", "width", "stem"))
        return Choices(*first, widths, depths, kernels, expansions, self._gene(rows, "last"))

    def rows(self, choices: Choices) -> np.ndarray:
        """The canonical rows (N, d) of choices: genes of blocks that are not there are 0."""
        rows = np.zeros((len(choices.resolutions), len(self.alphabet)), dtype=np.int64)

        def put(name: str, values: np.ndarray) -> None:
            if name in self._column:
                rows[:, self._column[name]] = values

        for name, values in zip(("resolution", "width", "stem"), choices, strict=False):
            put(name, values)
        for index, stage in enumerate(self.macro.stages):
            put(f"stage{index}.width", choices.widths[index])
            kernels, expansions, depths = (
                part[index] for part in (choices.kernels, choices.expansions, choices.depths)
            )
            if stage.per_block:
                pairs = expansions * len(stage.kernels) + kernels
                for block in range(max(stage.depths)):
                    genes = pairs[:, block] + (block >= min(stage.depths))
                    put(f"stage{index}.block{block}", np.where(block < depths, genes, 0))
            else:
                put(f"stage{index}.depth", np.searchsorted(np.array(stage.depths), depths))
                put(f"stage{index}.kernel", kernels[:, 0])
                put(f"stage{index}.expansion", expansions[:, 0])
        put("last", choices.lasts)
        return rows

    def canonical(self, rows: np.ndarray) -> np.ndarray:
        """`rows` (N, d) with the genes that are ignored set to 0: one row for each sub-net. Idempotent."""
        return self.rows(self.choices(rows))

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Canonical rows (count, d): every choice uniform and independent, of each stage the depth first."""

        def drawn(*choices: int, shape: tuple[int, ...] = (count,)) -> np.ndarray:
            return generator.integers(0, *choices, size=shape)

        macro, parts = self.macro, [[], [], [], []]
        first = [drawn(len(choices)) for choices in (macro.resolutions, macro.multipliers, macro.stems)]
        for stage in macro.stages:
            shape = (count, max(stage.depths))
            own = [drawn(len(stage.widths)), np.array(stage.depths)[drawn(len(stage.depths))]]
            own += [drawn(len(stage.kernels), shape=shape), drawn(len(stage.expansions), shape=shape)]
            for part, values in zip(parts, own, strict=True):
                part.append(values)
        return self.rows(Choices(*first, *parts, drawn(len(macro.lasts))))

    def genotype(self, row: np.ndarray) -> dict[str, Any]:
        """The genotype of a row (d,), as plain values."""
        macro, found = self.macro, self.choices(np.asarray(row)[None])

        def of_blocks(name: str) -> list[list[int]]:
            ids = found.kernels if name == "kernels" else found.expansions
            return [
                [getattr(stage, name)[number] for number in own[0, : depth[0]].tolist()]
                for stage, own, depth in zip(macro.stages, ids, found.depths, strict=True)
            ]

        return {
            "resolution": macro.resolutions[int(found.resolutions[0])],
            "width": macro.multipliers[int(found.multipliers[0])],
            "stem": macro.stems[int(found.stems[0])],
            "widths": [stage.widths[int(own[0])] for stage, own in zip(macro.stages, found.widths, strict=True)],
            "kernels": of_blocks("kernels"),
            "expansions": of_blocks("expansions"),
            "last": macro.lasts[int(found.lasts[0])],
        }

    def row(self, genotype: Mapping[str, Any]) -> np.ndarray:
        """The canonical row (d,) of a genotype; raises `UserError` where it is not of this space."""
        macro = self.macro
        genotype = check_genotype(macro, genotype)

        def of_blocks(name: str) -> list[np.ndarray]:
            return [
                np.array([[getattr(stage, name).index(one) for one in own] + [0] * (max(stage.depths) - len(own))])
                for stage, own in zip(macro.stages, genotype[name], strict=True)
            ]

        widths = zip(macro.stages, genotype["widths"], strict=True)
        choices = Choices(
            np.array([macro.resolutions.index(genotype["resolution"])]),
            np.array([macro.multipliers.index(genotype["width"])]),
            np.array([macro.stems.index(genotype["stem"])]),
            [np.array([stage.widths.index(width)]) for stage, width in widths],
            [np.array([len(own)]) for own in genotype["kernels"]],
            of_blocks("kernels"),
            of_blocks("expansions"),
            np.array([macro.lasts.index(genotype["last"])]),
        )
        return self.rows(choices)[0]

    def _gene(self, rows: np.ndarray, name: str) -> np.ndarray:
        """The genes (N,) of a name; 0 where it has one value only."""
        return rows[:, self._column[name]] if name in self._column else np.zeros(len(rows), dtype=np.int64)


def _pairs(stage: Any) -> int:
    return len(stage.kernels) * len(stage.expansions)
