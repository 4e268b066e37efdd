"""The figures of an evolution in iterations, as pure functions from plain data to plotly figures.

Iterations are counted from 0, the first archive, in the data and on the axes. A value that is None, or not finite, is
not drawn.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.reporting import quantities
from src.reporting.figure_style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    legend_above,
    line_colours,
    padded_range,
    styled,
    write_inside,
)

Values = Sequence[float | None]

_ORDERED = "Viridis"
_PALEST = 0.88  # the palest end of the scale would vanish on white


def hypervolume_figure(curves: Mapping[str, Values]) -> go.Figure:
    """Hypervolume after each iteration, as a share of the box below the reference point; a line for each name."""
    figure = go.Figure()
    for (name, values), colour in zip(curves.items(), line_colours(len(curves)), strict=True):
        figure.add_trace(_line(name, values, colour))
    styled(legend_above(figure), "iteration", "hypervolume (share of the box)", height=420, legend=len(curves) > 1)
    return _whole_iterations(figure, curves.values())


def surrogate_figure(spearman: Values, kendall: Values, rmse: Values) -> go.Figure:
    """How well errors were predicted: rank correlations above, root mean square error in points of percent below."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    styled(legend_above(figure), "", "", height=500)
    for name, values, colour, row in (
        ("Spearman", spearman, BLUE, 1),
        ("Kendall", kendall, GREEN, 1),
        ("RMSE", rmse, ORANGE, 2),
    ):
        figure.add_trace(_line(name, values, colour), row=row, col=1)
    figure.update_yaxes(title_text="rank correlation", row=1, col=1)
    figure.update_yaxes(title_text="RMSE (points of %)", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(title_text="iteration", row=2, col=1)
    return _whole_iterations(figure, (spearman, kendall, rmse))


def prediction_figure(predicted: Values, measured: Values) -> go.Figure:
    """Errors in percent of an archive as they were predicted and as they were measured; on the line they are equal."""
    points = [(p, m) for p, m in zip(predicted, measured, strict=True) if _known(p) and _known(m)]
    figure = go.Figure()
    ends = padded_range([value for point in points for value in point])
    if ends:
        figure.add_scatter(
            name="equal",
            x=ends,
            y=ends,
            mode="lines",
            line={"color": GREY, "width": 1, "dash": "dash"},
            hoverinfo="skip",
        )
    figure.add_scatter(
        name="sub-nets",
        x=[p for p, _ in points],
        y=[m for _, m in points],
        mode="markers",
        marker={"color": BLUE, "size": 7, "opacity": 0.65},
        hovertemplate="predicted %{x:.2f} %<br>measured %{y:.2f} %<extra></extra>",
    )
    styled(figure, "predicted error (%)", "measured error (%)", height=480, legend=False)
    if not points:
        write_inside(figure, "nothing was predicted")
    figure.update_xaxes(range=ends)
    return figure.update_yaxes(range=ends)


def archives_figure(errors: Values, macs: Values, iterations: Sequence[int]) -> go.Figure:
    """Error in percent against MACs of all that was evaluated, coloured by iteration from dark to light.

    The three lists have an entry for each evaluation.
    """
    points = [
        (cost / 1e6, error, iteration)
        for error, cost, iteration in zip(errors, macs, iterations, strict=True)
        if _known(error) and _known(cost)
    ]
    last = max((iteration for _, _, iteration in points), default=0)
    figure = go.Figure()
    figure.add_scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        mode="markers",
        customdata=[iteration for _, _, iteration in points],
        hovertemplate="iteration %{customdata}<br>error %{y:.2f} %<br>%{x:.4g} M MACs<extra></extra>",
        marker={
            "size": 7 if len(points) <= 500 else 5,
            "opacity": 0.7,
            "color": [iteration for _, _, iteration in points],
            "colorscale": _ORDERED,
            "cmin": 0,
            "cmax": max(last, 1) / _PALEST,
            "colorbar": {"title": "iteration", "thickness": 14, "dtick": max(1, -(-last // 10)), "tick0": 0},
        },
    )
    styled(figure, "MACs (M)", "validation error (%)", height=500, legend=False)
    if not points:
        write_inside(figure, "nothing was evaluated yet")
    figure.update_xaxes(range=padded_range([x for x, _, _ in points], floor=0))
    return figure.update_yaxes(range=padded_range([y for _, y, _ in points]))


def _known(value: float | None) -> bool:
    return quantities.is_number(value)


def _line(name: str, values: Values, colour: str) -> go.Scatter:
    known = [(iteration, value) for iteration, value in enumerate(values) if _known(value)]
    return go.Scatter(
        name=name,
        x=[iteration for iteration, _ in known],
        y=[value for _, value in known],
        mode="lines+markers",
        line={"color": colour, "width": 1.8},
        marker={"size": 6},
        hovertemplate=f"{name}<br>iteration %{{x}}: %{{y:.4g}}<extra></extra>",
    )


def _whole_iterations(figure: go.Figure, curves) -> go.Figure:
    """Ticks at whole iterations, and a remark where there is nothing to see."""
    curves = list(curves)
    last = max((len(values) for values in curves), default=0) - 1
    if not any(_known(value) for values in curves for value in values):
        write_inside(figure, "no iteration has ended yet")
    return figure.update_xaxes(dtick=1 if last <= 20 else None, range=[-0.3, max(last, 1) + 0.3], tickfont_color=DARK)
