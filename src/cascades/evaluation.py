"""Errors and costs of cascades, exactly, at hundreds of thousands a second.

With the tables of a cascade's sets at hand (`src.cascades.tables`) a stage is two bitwise operations and two counts of
bits on a row of words: 10,000 samples are 157 words. Nothing depends on the number of classes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from src.cascades.device_tables import DeviceTables
from src.cascades.genotype import canonical
from src.cascades.pool import Pool
from src.cascades.tables import SetTables
from src.cascades.thresholds import ThresholdGrid
from src.errors import UserError, check_choice

OBJECTIVES = ("error", "macs", "latency", "params")


class CascadeEvaluator:
    """Evaluates rows of genes (`src.cascades.genotype`) on the samples of a pool.

    Args:
        pool: members with their outputs, costs and labels.
        slots: K, the most members of a cascade.
        grid: of thresholds.
        memory: bytes that the tables may take.
        repeats: what becomes of a repeated member, see `canonical`.
        threads: that share the rows of a batch, on a CPU.
        device: where tables lie and are walked.
    """

    def __init__(
        self,
        pool: Pool,
        slots: int = 5,
        grid: ThresholdGrid | None = None,
        memory: float = 2 * 2**30,
        repeats: str = "refuse",
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self.pool, self.slots, self.repeats, self.memory = pool, slots, repeats, memory
        self.grid = grid or ThresholdGrid()
        settings = (pool.outputs, pool.labels, slots, self.grid, memory)
        on_cpu = torch.device(device).type == "cpu"
        self.tables = SetTables(*settings) if on_cpu else DeviceTables(*settings, device=device)
        self.threads = threads if on_cpu else 1

    def counts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wrong answers, int64 (B,), and samples that run slot j of the canonical row, int64 (B, K).

        Without any member nothing is answered: all are wrong.

        Raises:
            UserError: rows of another length, or a gene outside its alphabet.
        """
        rows = canonical(self._checked(rows), self.repeats)
        step = max(1, self.tables.capacity // self.slots)
        parts = [self._counts(rows[low : low + step]) for low in range(0, len(rows), step)]
        if not parts:
            return np.zeros(0, np.int64), np.zeros((0, self.slots), np.int64)
        return tuple(np.concatenate(values) for values in zip(*parts, strict=True))

    def objectives(self, rows: np.ndarray, objectives: Sequence[str] = ("error", "macs")) -> np.ndarray:
        """Float64 (B, n): error in percent; MACs and latency a sample, averaged; parameters of all members together.

        A row without a member has error 100 and infinite cost.
        """
        errors, reached = self.counts(rows)
        numbers = canonical(np.asarray(rows), self.repeats)[:, : self.slots]
        found = []
        for name in objectives:
            if check_choice("method.objectives", name, OBJECTIVES) == "error":
                found.append(100 * errors / self.pool.samples)
                continue
            costs = np.concatenate([[0.0], self.pool.costs(name)])
            # a member that stands in a cascade is stored even where no sample reaches it
            share = (numbers > 0) if name == "params" else reached / self.pool.samples
            found.append(np.where(numbers[:, 0] == 0, np.inf, (costs[numbers] * share).sum(1)))
        return np.stack(found, 1)

    def seen(self, row: np.ndarray) -> np.ndarray:
        """Which samples run each slot of the canonical row of one cascade (2K - 1,): bool (K, N)."""
        row = canonical(self._checked(np.asarray(row)[None]), self.repeats)[0]
        masks = np.zeros((self.slots, self.pool.samples), dtype=bool)
        order, here = self.tables.sample_order(), np.ones(self.pool.samples, dtype=bool)
        for slot in range(int((row[: self.slots] > 0).sum())):
            masks[slot, order] = here
            if slot < self.slots - 1:
                bins, _ = self.tables.bins_of(np.sort(row[None, : slot + 1] - 1))
                here = here & (bins[0] <= row[self.slots + slot])
        return masks

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows, dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != 2 * self.slots - 1:
            raise UserError(
                f"rows of shape {rows.shape} are not allowed; {self.slots} slots have {2 * self.slots - 1} genes"
            )
        numbers, levels = rows[:, : self.slots], rows[:, self.slots :]
        for genes, count in ((numbers, len(self.pool) + 1), (levels, len(self.grid))):
            if genes.size and (genes.min() < 0 or genes.max() >= count):
                raise UserError(
                    f"a gene from {genes.min()} to {genes.max()} is not allowed; it must be from 0 to {count - 1}"
                )
        return rows

    def _counts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of canonical rows whose sets all have room in the tables."""
        numbers, levels = rows[:, : self.slots], rows[:, self.slots :]
        keys = np.stack([self.tables.index.keys_of(numbers[:, : slot + 1]) for slot in range(self.slots)], 1)
        places = self.tables.places_of(keys.ravel()).reshape(keys.shape)
        length = (numbers > 0).sum(1)
        step = self.tables.chunk()
        chunks = [slice(low, low + step) for low in range(0, len(rows), step)]

        def chunk(some: slice) -> tuple[np.ndarray, np.ndarray]:
            return self.tables.walk(places[some], levels[some], length[some])

        if self.threads > 1 and len(chunks) > 1:
            with ThreadPoolExecutor(self.threads) as executor:
                found = list(executor.map(chunk, chunks))
        else:
            found = [chunk(some) for some in chunks]
        answers, reached = (np.concatenate(values) for values in zip(*found, strict=True))
        some = length > 0  # of no member the tables say nothing
        return self.pool.samples - np.where(some, answers, 0), np.where(some[:, None], reached, 0)
