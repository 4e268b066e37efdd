"""The pictures of an evolution of super-nets."""

from typing import TYPE_CHECKING

from src.reporting.evolution_figures import archives_figure, hypervolume_figure, prediction_figure, surrogate_figure

if TYPE_CHECKING:
    from src.methods.subnet_evolution import SubnetEvolution

_MEASURES = ("spearman", "kendall", "rmse")


def evolution_figures(module: "SubnetEvolution") -> list[tuple]:
    """(heading, caption, figure) of what `module` has so far."""
    measures, last = module.measures, module.plan.iterations
    if not measures:
        return []
    figures = [
        (
            "Hypervolume",
            "Of the archive of each iteration, evaluated by the weights of then; more is better.",
            hypervolume_figure({"archive": [measure["hypervolume"] for measure in measures]}),
        ),
        (
            "Archives",
            "What each iteration has evaluated, by the weights of then"
            + (f"; {last + 1} is the last look at all fronts, by the weights that stay." if module.final else "."),
            archives_figure(
                [candidate.error for candidate in module.candidates],
                [candidate.macs for candidate in module.candidates],
                [round(candidate.extra["iteration"]) for candidate in module.candidates],
            ),
        ),
    ]
    if not any("spearman" in measure for measure in measures):
        return figures
    columns = [[measure.get(name) for measure in measures] for name in _MEASURES]
    caption = "What was predicted of what is new to the surrogate against what it came to, after further training."
    figures.append(("Surrogate", caption, surrogate_figure(*columns)))
    predicted, measured = module.compared
    caption = "Of the new members of the last archive that was proposed: above the line is worse than predicted."
    figures.append(("Predictions", caption, prediction_figure(predicted, measured)))
    return figures
