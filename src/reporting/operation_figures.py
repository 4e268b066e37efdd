"""The figures of a search for the operation of each block, as pure functions from plain data to plotly figures."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from src.reporting.figure_style import BLUE, GREEN, GREY, ORANGE, legend_above, styled

_UNITS = {"macs": ("MACs (M)", 1e6), "params": ("parameters (M)", 1e6), "latency": ("latency (ms)", 1.0)}
_SCALE = [[0.0, "#FFFFFF"], [0.5, "#7FB7D8"], [1.0, BLUE]]
_MOST_DOTS = 1500  # of a cloud


def proposal_costs_figure(
    names: Sequence[str],
    uniform: Tensor,
    proposed: Tensor,
    bounds: Mapping[str, tuple[float, float]],
    found: Sequence[float] | None = None,
) -> go.Figure:
    """What samples cost: uniform ones and those of the proposals, in the plane of two costs, with the targets' box.

    Args:
        names: of the K costs; the first two are the axes, of one alone there are histograms.
        uniform: (M, K) costs of uniform choices.
        proposed: (N, M, K) costs of what each proposal draws.
        bounds: of each cost that has a target the least and the most that meet it.
        found: the K costs of one architecture to be marked.
    """
    figure = go.Figure()
    axes = [_UNITS.get(name, (name, 1.0)) for name in names[:2]]
    clouds = [("uniform", uniform.double(), GREY), ("proposals", proposed.double().flatten(0, 1), BLUE)]
    for name, costs, colour in clouds:
        columns = [(costs[:, k] / unit).tolist() for k, (_, unit) in enumerate(axes)]
        if len(axes) == 1:
            figure.add_histogram(x=columns[0], name=name, marker_color=colour, opacity=0.6, histnorm="percent")
            continue
        every = max(1, -(-len(costs) // _MOST_DOTS))
        figure.add_scattergl(
            x=columns[0][::every],
            y=columns[1][::every],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 4, "opacity": 0.55},
            hovertemplate=f"{axes[0][0]} %{{x:.4g}}<br>{axes[1][0]} %{{y:.4g}}<extra>{name}</extra>",
        )
    styled(legend_above(figure), axes[0][0], axes[1][0] if len(axes) > 1 else "share of the samples (%)", height=500)
    for k, (name, (_, unit)) in enumerate(zip(names[:2], axes, strict=False)):
        if name in bounds:
            low, high = (bound / unit for bound in bounds[name])
            add = (figure.add_vrect, figure.add_hrect)[k]
            edges = {"x0": low, "x1": high} if k == 0 else {"y0": low, "y1": high}
            add(**edges, fillcolor=GREEN, opacity=0.12, line={"color": GREEN, "width": 1}, layer="below")
    if found is not None:
        figure.add_scatter(
            x=[found[0] / axes[0][1]],
            y=[found[1] / axes[1][1] if len(axes) > 1 else 0],
            mode="markers",
            name="found",
            marker={"color": ORANGE, "size": 13, "symbol": "star", "line": {"color": "white", "width": 1}},
        )
    return figure.update_layout(barmode="overlay", legend_itemsizing="constant")


def probabilities_figure(
    probabilities: Tensor,
    blocks: Sequence[str],
    operations: Sequence[str],
    chosen: Sequence[int] | None = None,
    vital: Sequence[bool] | None = None,
) -> go.Figure:
    """The probability of each operation (columns) in each block (rows); of a history the last, and its course beside.

    Args:
        probabilities: (L, O), or a history (E, L, O) of E epochs: beside the last one stands then, for each block and
            epoch, the probability of the operation that is chosen.
        blocks: L names; operations: O names.
        chosen: the operation of each block, framed; None: the most probable.
        vital: whether each block is vital; these are told in bold.
    """
    history = probabilities.double() if probabilities.dim() == 3 else probabilities.double()[None]
    last = history[-1]
    chosen = last.argmax(1).tolist() if chosen is None else list(map(int, chosen))
    rows = [
        f"<b>{name}</b> (vital)" if own else name
        for name, own in zip(blocks, vital or [False] * len(blocks), strict=True)
    ]
    courses = len(history) > 1
    figure = make_subplots(
        rows=1,
        cols=1 + courses,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        column_widths=[0.6, 0.4] if courses else None,
    )
    common = {"zmin": 0, "zmax": 1, "colorscale": _SCALE, "ygap": 1, "y": rows}
    figure.add_heatmap(
        z=last.tolist(),
        x=list(operations),
        xgap=1,
        hovertemplate="%{y}<br>%{x}: %{z:.3f}<extra></extra>",
        colorbar={"title": "probability", "thickness": 14},
        **common,
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=[operations[choice] for choice in chosen],
        y=rows,
        mode="markers",
        marker={"symbol": "square-open", "color": ORANGE, "size": 13, "line": {"width": 2}},
        hovertemplate="%{y}<br>%{x}: chosen<extra></extra>",
        row=1,
        col=1,
    )
    styled(figure, "operation", "", height=150 + min(24 * len(rows), 1200), legend=False)
    if courses:
        course = history[:, torch.arange(len(rows)), chosen].T
        figure.add_heatmap(
            z=course.tolist(),
            x=list(range(1, len(history) + 1)),
            showscale=False,
            hovertemplate="%{y}, epoch %{x}<br>chosen one: %{z:.3f}<extra></extra>",
            **common,
            row=1,
            col=2,
        )
        figure.update_xaxes(title_text="epoch: probability of the chosen", row=1, col=2)
    figure.update_xaxes(type="category", tickangle=-60, row=1, col=1)
    figure.update_xaxes(showgrid=False)
    return figure.update_yaxes(type="category", autorange="reversed", showgrid=False)


def short_operations(operations: Sequence[str]) -> str:
    """The operations of all blocks in a line: `k5e6 k3e1se skip`."""
    return " ".join(name.removeprefix("ir_").replace("_", "") for name in operations)
