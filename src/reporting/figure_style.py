"""How all figures look: white, thin grid, colours that the colour-blind can tell apart (Okabe and Ito, 2008)."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, DARK, GRID = "#8A8A8A", "#222222", "#E6E6E6"
QUALITATIVE = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", DARK)
# From dark blue over teal to yellow-green: told apart by lightness alone; the palest end would vanish on white.
_ORDERED = "Viridis"
_PALEST = 0.88


def line_colours(count: int) -> list[str]:
    """`count` colours: distinct ones for a few curves, an ordered scale (first dark, last light) for many."""
    if count <= len(QUALITATIVE):
        return list(QUALITATIVE[:count])
    return sample_colorscale(_ORDERED, [_PALEST * i / (count - 1) for i in range(count)])


def styled(figure: go.Figure, x: str, y: str, height: int = 440, legend: bool = True) -> go.Figure:
    """`figure` with the common look and axis titles `x` and `y`."""
    axis = {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": GREY,
        "ticks": "outside",
        "automargin": True,
        "title_standoff": 14,
    }
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 70, "r": 20, "t": 40, "b": 60},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", "size": 13, "color": DARK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        hovermode="closest",
        hoverlabel={"bgcolor": "white", "align": "left", "font": {"size": 12}},
        showlegend=legend,
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_xaxes(title_text=x, row=None, col=None)
    figure.update_yaxes(title_text=y, row=None, col=None)
    return figure


def legend_above(figure: go.Figure) -> go.Figure:
    """Puts a short legend in one row above the drawing."""
    return figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"})


def padded_range(values: Sequence[float], floor: float | None = None) -> list[float] | None:
    """An axis range with some air on both sides, also for one value; None where there is none."""
    if not len(values):
        return None
    low, high = min(values), max(values)
    air = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
    return [low - air if floor is None else max(floor, low - air), high + air]


def write_inside(figure: go.Figure, text: str) -> go.Figure:
    """A remark inside a figure that has nothing else to show yet."""
    return figure.add_annotation(
        text=text, x=0.5, y=0.75, xref="paper", yref="paper", showarrow=False, font={"size": 15, "color": GREY}
    )


def mark_boundaries(figure: go.Figure, boundaries: Sequence[int], word: str | None = "trial") -> go.Figure:
    """Vertical lines where a new trial begins: `boundaries` are its first epochs, counted from 0; axis from 1.

    Trials are named above the drawing as long as there is room for it.
    """
    named = word is not None and 0 < len(boundaries) <= 12
    for epoch in boundaries:
        figure.add_vline(x=epoch + 0.5, line={"color": GREY, "width": 1, "dash": "dot"})
    if named:
        for number, epoch in enumerate([0, *boundaries], start=1):
            figure.add_annotation(
                x=epoch + 0.5,
                y=1,
                yref="paper",
                xanchor="left",
                yanchor="bottom",
                showarrow=False,
                text=f"{word} {number}" if len(boundaries) <= 8 else str(number),
                font={"size": 11, "color": GREY},
            )
    return figure
