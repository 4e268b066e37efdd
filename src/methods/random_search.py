"""Random search: random architectures under the budget of a search, the baseline that it has to beat.

Li and Talwalkar 2019 (https://arxiv.org/abs/1902.07638): what a search is worth shows against the same number of
evaluations, of the same length, spent on architectures that are drawn at random from the same space.
"""

import json
import math
from collections.abc import Callable
from typing import Any

from src.errors import UserError, check_flag
from src.methods.trial_search import TrialSearch
from src.reporting import quantities
from src.reporting.candidates import Candidate, best_candidate
from src.reporting.cell_figures import short_cells
from src.reporting.operation_figures import short_operations
from src.reporting.subnet_names import short_subnet
from src.runtime.seeds import keyed_generator
from src.spaces.space import Genotype, SearchSpace, admissible_band, macs_of_bound
from src.spaces.subnet_space import SubnetSpace
from src.spaces.widths import WidthSpace

_DRAWN_TOGETHER, _DRAWS = 16, 64  # until the architectures in the band are taken for exhausted


class RandomSearch(TrialSearch):
    """Trains `trials` random architectures, none of them twice; the one of lowest validation error is the result.

    Candidate k is keyed by (seed, "random", k): it is the same whatever the candidates before it came to.

    Args:
        trials: candidates in all.
        epochs_per_trial: of each training.
        space: (base, input_shape) -> the space that is drawn from; how it draws stands there.
        min_macs, max_macs: of every candidate, both allowed; below 10 a share of the MACs of the model that the search
            starts from. None: no bound.
        include_base: candidate 0 is the model that the search starts from, at its own widths or cells.
        base, input_shape, seed, settings: as `SearchModule` has them.

    Raises:
        UserError: the budget cannot be met, or not by `trials` different architectures, or the base is to be a
            candidate and does not meet it.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        trials: int = 8,
        epochs_per_trial: int = 8,
        space: Callable[[dict[str, Any], tuple[int, int, int]], SearchSpace] = WidthSpace,
        min_macs: float | None = None,
        max_macs: float | None = None,
        include_base: bool = False,
        **settings,
    ) -> None:
        check_flag("method.include_base", include_base)
        super().__init__(base, input_shape, trials, epochs_per_trial, **settings)
        self.space = space(base, self.input_shape)
        start = self.space.start
        if isinstance(self.space, SubnetSpace):  # a super-net itself is none of the networks that are compared
            self.base = self.space.config(start)
        self.base_network = {"macs": self.space.macs(start), "params": self.space.params(start)}
        self.macs_band = self._macs_band(min_macs, max_macs)
        self.genotypes = self._drawn([start] if include_base else [])
        self.config = self.space.config(self.genotypes[0])
        self.network = self.fresh_network(self.config, 0)

    def _macs_band(self, min_macs: float | None, max_macs: float | None) -> tuple[int, int]:
        """The bounds in MACs, as far as the space reaches."""
        given, bounds = {"min_macs": min_macs, "max_macs": max_macs}, []
        for name, bound in given.items():
            macs = self.base_network["macs"]
            bounds.append(None if bound is None else macs_of_bound(f"method.{name}", bound, macs))
        asked = ", ".join(f"method.{name}={bound}" for name, bound in given.items() if bound is not None)
        if None not in bounds and bounds[0] > bounds[1]:
            raise UserError(f"{asked}: the least of the MACs, {bounds[0]:,.0f}, is above the most, {bounds[1]:,.0f}")
        try:
            return admissible_band(self.space, tuple(bounds))
        except UserError as error:
            raise UserError(f"{asked}: {error}") from error

    def _drawn(self, genotypes: list[Genotype]) -> list[Genotype]:
        """All candidates: `genotypes`, which may be no more than the base, and random ones."""
        least, most = self.macs_band
        for macs in map(self.space.macs, genotypes):
            if not least <= macs <= most:
                raise UserError(
                    f"method.include_base=true: the model that the search starts from has {macs:,} MACs, and "
                    f"candidates must have from {least:,} to {most:,}"
                )
        known = {_identity(genotype) for genotype in genotypes}
        for trial in range(len(genotypes), self.trials):
            generator = keyed_generator(self.seed, "random", trial)
            for _ in range(_DRAWS):
                draws = self.space.sample(_DRAWN_TOGETHER, generator, self.macs_band)
                new = next((genotype for genotype in draws if _identity(genotype) not in known), None)
                if new is not None:
                    break
            else:
                raise UserError(
                    f"method.trials={self.trials}: only {trial} different architectures were found with {least:,} to "
                    f"{most:,} MACs; give method.trials={trial} or a wider budget"
                )
            genotypes.append(new)
            known.add(_identity(new))
        return genotypes

    def next_candidate(self) -> None:
        """Starts the trial of the next candidate."""
        self.start_trial(self.space.config(self.genotypes[self.trial + 1]))

    def on_divergence(self) -> None:
        """The candidate has no error and is not the result; the others are trained all the same."""

    def architecture(self) -> dict[str, Any]:
        """The candidate of lowest validation error (of equal ones the one of fewest MACs); without one the base."""
        best = best_candidate(self.candidates)
        return self.candidate_config(best) if best else self.base

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self.space.config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        """What the table of candidates tells of a genotype that is not of widths."""
        genotype = candidate.architecture
        if candidate.widths is not None:
            return {}
        if "operations" in genotype:
            return {"operations": short_operations(genotype["operations"])}
        if "resolution" in genotype:
            return {"subnets": short_subnet(genotype)}
        return {"cells": short_cells(genotype)} if "normal" in genotype else {}

    def remark(self) -> str:
        """How many candidates there were, what they cost, and how many of them did not train."""
        macs = [candidate.macs for candidate in self.candidates]
        if not macs:
            return "no candidate was evaluated"
        text = f"{len(macs)} random candidates of {quantities.amount(min(macs))} to {quantities.amount(max(macs))} MACs"
        diverged = sum(not math.isfinite(candidate.error) for candidate in self.candidates)
        return f"{text}, {diverged} of them diverged" if diverged else text

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.trial >= self.trials or self.config != self.space.config(self.genotypes[self.trial]):
            raise UserError(
                "the checkpoint is of a random search with another seed, budget or model, which has other candidates"
            )


def _identity(genotype: Genotype) -> str:
    return json.dumps(genotype, sort_keys=True)
