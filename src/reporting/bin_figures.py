"""The figures of a width search in bins, as pure functions from plain data to plotly figures."""

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.reporting.figure_style import BLUE, GREEN, GREY, ORANGE, styled, write_inside


def bins_figure(counts: Mapping[str, int], sizes: Mapping[str, int], shares: Mapping[str, float]) -> go.Figure:
    """Of each width group its number of bins, channels in a bin, and what a bin costs, as a share of all MACs."""
    parts = [
        ("bins", counts.values(), BLUE),
        ("channels in a bin", sizes.values(), GREEN),
        ("MACs of a bin (%)", [100 * share for share in shares.values()], ORANGE),
    ]
    figure = make_subplots(rows=len(parts), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    styled(figure, "", "", height=640, legend=False)
    for row, (title, values, colour) in enumerate(parts, start=1):
        figure.add_bar(x=list(counts), y=list(values), name=title, marker_color=colour, row=row, col=1)
        figure.update_yaxes(title_text=title, rangemode="tozero", row=row, col=1)
    figure.update_traces(hovertemplate="%{x}<br>%{y:.4g}")
    return figure.update_xaxes(type="category", showgrid=False)


def evenness_figure(evenness: Mapping[str, float]) -> go.Figure:
    """How evenly the index sets of the widths of each group win; a group whose value is not a number has no bar."""
    figure = go.Figure()
    known = {name: value for name, value in evenness.items() if value == value}
    figure.add_bar(x=list(known), y=list(known.values()), marker_color=BLUE, hovertemplate="%{x}<br>%{y:.3f}")
    figure.add_hline(y=1, line={"color": GREY, "width": 1, "dash": "dash"})
    styled(figure, "", "entropy, as a share of the largest", legend=False)
    if not known:
        write_inside(figure, "too few steps yet")
    figure.update_xaxes(type="category", showgrid=False)
    return figure.update_yaxes(range=[0, 1.05])
