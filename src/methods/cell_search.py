"""What a search over cells finds: the genotype that its structure stands for (DARTS, arXiv 1806.09055).

After each epoch the genotype that the gates stand for is derived and recorded as a candidate; its error is that of the
super-net, its costs are those of the network that is made of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from src.errors import UserError, check_choice, check_choices, check_flag
from src.methods.cell_training import CellTraining, checked_variational
from src.reporting import quantities
from src.reporting.candidates import Candidate
from src.reporting.cell_figures import cell_figure, histogram_figure, short_cells
from src.runtime.seeds import keyed_generator
from src.spaces.cell_configs import inner_config, with_variational_weights
from src.spaces.collapse import collapse_measures, dead_edges
from src.spaces.derivation import RULES, derive

CONTROLS = ("random", "dense")


class CellSearch(CellTraining):
    """Derives genotypes, and says which networks are trained in the end.

    Args:
        rule: how a genotype is derived, as `derive` has it.
        retrain_variational: whether the network that was found, and random ones beside it, are trained with variational
            weights, with `retrain_settings` (as `src.variational.conversion.variational` has them).
        controls: networks that are trained beside the found one: "random", a random genotype trained as the found one
            is, and "dense", the found genotype without variational weights.
        base, input_shape, settings: as `CellTraining` has them.

    Raises:
        UserError: an argument that is not allowed, or a base that is no network of cells.
    """

    def __init__(
        self,
        base: dict[str, Any],
        input_shape: tuple[int, int, int],
        rule: str = "top2",
        retrain_variational: bool = False,
        retrain_settings: Mapping[str, Any] | None = None,
        controls: Sequence[str] = CONTROLS,
        **settings,
    ) -> None:
        self.rule = check_choice("method.derivation.rule", rule, RULES)
        self.control_names = check_choices("method.controls", controls, CONTROLS)
        self.retrain_variational = check_flag("method.retrain.variational", retrain_variational)
        self._retrain_settings = checked_variational("method.retrain", retrain_settings)
        super().__init__(base, input_shape, **settings)
        self.genotype: dict[str, Any] | None = None

    # what is found

    def derived(self) -> dict[str, Any]:
        """The genotype that the gates stand for now."""
        alpha = self.log_alpha()
        return derive(
            self.rule,
            self.scores().detach().cpu(),
            None if alpha is None else alpha.detach().cpu(),
            self.space.operations,
            self.space.edges,
            threshold=self.threshold,
            live=self.running().cpu(),
        )

    def candidate(self, error: float) -> Candidate:
        """The genotype of now, with the error of the super-net."""
        self.genotype = self.derived()
        return Candidate(
            id=len(self.candidates),
            parent=None,
            step=self.current_epoch,
            error=error,
            macs=self.space.macs(self.genotype),
            params=self.space.params(self.genotype),
            seconds=self.seconds_since_candidate(),
            architecture=self.genotype,
            extra=self._collapse(),
        )

    def _collapse(self) -> dict[str, float]:
        """How far the search of now is from one kind of operation everywhere, and from none at all."""
        live, measures = self.live(), collapse_measures(self.genotype)
        genotype = {name: measures[name] for name in ("entropy", "parameter_free")}
        return {"operations_left": int(live.sum()), "dead_edges": int(dead_edges(live).sum()), **genotype}

    def _config(self, genotype: Mapping[str, Any], variational: bool = True) -> dict[str, Any]:
        config = dict(inner_config(self.space.config(genotype)))  # the base may be variational, as one that was found
        return (
            with_variational_weights(config, self._retrain_settings)
            if variational and self.retrain_variational
            else config
        )

    def architecture(self) -> dict[str, Any]:
        """The network of the genotype that was derived last; the base as long as there is none."""
        return self.base if self.genotype is None else self._config(self.genotype)

    def candidate_config(self, candidate: Candidate) -> dict[str, Any]:
        return self._config(candidate.architecture)

    def candidate_cells(self, candidate: Candidate) -> dict[str, str]:
        return {"cells": short_cells(candidate.architecture)}

    def controls(self) -> dict[str, dict[str, Any]]:
        made: dict[str, Any] = {}
        if "random" in self.control_names:
            genotype = self.space.sample(1, keyed_generator(self.seed, "control", "random"))[0]
            made["random"] = self._config(genotype)
        if "dense" in self.control_names and self.retrain_variational and self.genotype is not None:
            made["found-dense"] = self._config(self.genotype, variational=False)
        return made

    def check_monte_carlo(self, samples: int) -> None:
        if samples and not self.retrain_variational:
            raise UserError(
                f"export.monte_carlo={samples} needs a network with variational weights: "
                "give method.retrain.variational=true, or export.monte_carlo=0"
            )

    def remark(self) -> str:
        """What was found, whether it has collapsed, and what the search took."""
        if self.genotype is None:
            return "no genotype was derived"
        measures = collapse_measures(self.genotype)
        left = f"{int(self.live().sum())} of {self.live().numel()} operations of the super-net were left"
        return (
            f"found: {short_cells(self.genotype)}\n{100 * measures['parameter_free']:.0f} % of its edges are shortcuts "
            f"or pools, the entropy of its operations is {measures['entropy']:.2f} nats; {left}; the search took "
            f"{quantities.clock(self.seconds_searched)}"
        )

    def report_facts(self) -> dict[str, str]:
        facts = {"operations left": f"{int(self.live().sum())} of {self.live().numel()}"}
        if self.genotype is not None:
            facts["found"] = short_cells(self.genotype)
        if self.seconds_searched:
            facts["search"] = quantities.clock(self.seconds_searched)
        return facts

    def report_figures(self) -> list:
        """The drawn cells, how operations were shared out after each epoch, and what callbacks show."""
        if not self.candidates:
            return super().report_figures()
        last = self.candidates[-1].architecture
        drawn = [
            (f"{name} cell".capitalize(), "As derived after the last epoch.", cell_figure(last[key], f"{name} cell"))
            for key, name in (("normal", "normal"), ("reduce", "reduction"))
        ]
        history = histogram_figure([candidate.architecture for candidate in self.candidates])
        caption = "How often each operation stands in the genotype that would be derived after each epoch."
        return [*drawn, ("Operations of the genotype", caption, history), *super().report_figures()]

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["genotype"] = self.genotype

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.genotype = checkpoint["genotype"]
