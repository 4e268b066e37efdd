"""The figures of vital blocks, as pure functions from plain data to plotly figures."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.reporting.figure_style import BLUE, GREY, ORANGE, legend_above, styled, write_inside
from src.reporting.vital_tables import BlockRow, Lesions

_KINDS = ((True, "vital", ORANGE), (False, "non-vital", BLUE))


def blocks_figure(rows: Sequence[BlockRow]) -> go.Figure:
    """The blocks in the order in which they run: their shares of all MACs and parameters, the vital ones in orange."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    styled(legend_above(figure), "", "", height=520)
    names = [row.block for row in rows]
    parts = [("MACs (% of all)", "macs_share"), ("parameters (% of all)", "params_share")]
    for place, (title, share) in enumerate(parts, start=1):
        for vital, kind, colour in _KINDS:
            own = [row for row in rows if row.vital == vital]
            figure.add_bar(
                x=[row.block for row in own],
                y=[100 * getattr(row, share) for row in own],
                name=kind,
                legendgroup=kind,
                showlegend=place == 1 and bool(own),
                marker_color=colour,
                hovertemplate=f"%{{x}} ({kind})<br>%{{y:.2f}} %<extra></extra>",
                row=place,
                col=1,
            )
        figure.update_yaxes(title_text=title, rangemode="tozero", row=place, col=1)
    if not rows:
        write_inside(figure, "no blocks: everything is on the one path")
    return figure.update_xaxes(type="category", categoryorder="array", categoryarray=names, showgrid=False)


def lesions_figure(rows: Sequence[BlockRow], lesions: Lesions) -> go.Figure:
    """Accuracy against p: a thin line a block, thick the medians of both groups; dashed: without a lesion."""
    figure = go.Figure()
    rates = [0.0, *lesions.rates]
    for vital, kind, colour in _KINDS:
        own = [row.block for row in rows if row.vital == vital and (row.block, lesions.rates[0]) in lesions.accuracy]
        for block in own:
            values = [lesions.clean, *(lesions.accuracy[block, rate] for rate in lesions.rates)]
            figure.add_scatter(
                x=rates, y=values, mode="lines", line={"color": colour, "width": 1}, opacity=0.45, name=block,
                legendgroup=kind, showlegend=False,
                hovertemplate=f"{block} ({kind})<br>p %{{x}}: %{{y:.2f}} %<extra></extra>",
            )  # fmt: skip
        if own:
            figure.add_scatter(
                x=rates, y=[lesions.clean, *lesions.medians(own)], mode="lines+markers", name=f"{kind}, median",
                legendgroup=kind, line={"color": colour, "width": 4}, marker={"size": 9},
                hovertemplate=f"median of {len(own)} {kind}<br>p %{{x}}: %{{y:.2f}} %<extra></extra>",
            )  # fmt: skip
    figure.add_hline(y=lesions.clean, line={"color": GREY, "width": 1, "dash": "dash"})
    styled(legend_above(figure), "p: probability that a channel of the transform is reset to zero", "accuracy (%)")
    return figure.update_yaxes(rangemode="tozero")
