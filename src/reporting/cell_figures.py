"""The figures of a search for cells, as pure functions from plain data to plotly figures."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.reporting.cell_drawing import drawn
from src.reporting.cell_names import short_operation, state_name
from src.reporting.cell_plan import cell_plan
from src.reporting.figure_style import BLUE, DARK, GREY, ORANGE, PURPLE, QUALITATIVE, legend_above, styled

_CELLS = ("normal", "reduce")
_SCALE = [[0.0, BLUE], [0.5, "#FFFFFF"], [1.0, "#E69F00"]]
_FARTHEST = 10.0  # from the threshold, that colours tell apart
_OPERATIONS = (  # stacked in this order, so that parameter-free ones lie on top
    ("sep_conv_3x3", BLUE),
    ("sep_conv_5x5", "#56B4E9"),
    ("dil_conv_3x3", PURPLE),
    ("dil_conv_5x5", "#EBC9DB"),
    ("max_pool_3x3", ORANGE),
    ("avg_pool_3x3", "#E69F00"),
    ("skip_connect", GREY),
)


def short_cells(genotype: Mapping[str, Iterable]) -> str:
    """A genotype in a line: `normal: sep3(0) skip(1) | max(0) dil5(2); reduce: ...`, nodes divided by `|`.

    In brackets the state that is read: 0 and 1 are the inputs of the cell, 2 + i is node i.
    """
    return "; ".join(f"{cell}: {_short_nodes(genotype[cell])}" for cell in ("normal", "reduce"))


def _short_nodes(nodes: Iterable[Sequence]) -> str:
    return " | ".join(" ".join(f"{short_operation(name)}({state})" for name, state in node) for node in nodes)


def cell_figure(nodes: Sequence[Sequence], title: str, concat: Sequence[int] | None = None) -> go.Figure:
    """A cell as a directed graph: wires are states, boxes operations; parameter-free ones are white and dashed.

    Args:
        nodes: of each node its inputs [operation, state]; an edge may have several operations.
        title: above the drawing.
        concat: the states that make the output; None: all nodes.
    """
    return drawn(cell_plan(nodes, range(2, 2 + len(nodes)) if concat is None else concat), title)


def gates_figure(
    log_alpha: Sequence[Sequence[Sequence[float]]],
    operations: Sequence[str],
    edges: Sequence[tuple[int, int]],
    threshold: float = 3.0,
    live: Sequence[Sequence[Sequence[bool]]] | None = None,
) -> go.Figure:
    """log alpha of each operation (columns) on each edge (rows), a map for each cell type; dead ones are crossed out.

    Blue is under the threshold, yellow above it.

    Args:
        log_alpha: (T, E, O); live: (T, E, O), None: all are alive.
        operations: O names; edges: (node, state) of the E edges.
    """
    figure = make_subplots(
        rows=1, cols=len(log_alpha), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=_CELLS[: len(log_alpha)]
    )
    columns = [short_operation(name) for name in operations]
    rows = [f"{state_name(state)} → {node}" for node, state in edges]
    finite = [v for cell in log_alpha for row in cell for v in row if math.isfinite(v)]
    span = min(max((abs(v - threshold) for v in finite), default=1.0) or 1.0, _FARTHEST)
    for cell, values in enumerate(log_alpha):
        figure.add_heatmap(
            z=[[v if math.isfinite(v) else None for v in row] for row in values],
            x=columns, y=rows, xgap=1, ygap=1, colorscale=_SCALE, zmin=threshold - span, zmax=threshold + span,
            showscale=cell == 0, colorbar={"title": "log alpha", "thickness": 14},
            hovertemplate="%{y}<br>%{x}: log alpha %{z:.2f}<extra></extra>", row=1, col=cell + 1,
        )  # fmt: skip
        crossed = (
            [] if live is None else [(e, o) for e, row in enumerate(live[cell]) for o, own in enumerate(row) if not own]
        )
        figure.add_scatter(
            x=[columns[o] for _, o in crossed], y=[rows[e] for e, _ in crossed], mode="markers",
            marker={"symbol": "x-thin", "size": 11, "line": {"color": DARK, "width": 2}},
            hovertemplate="%{y}<br>%{x}: dead<extra></extra>", row=1, col=cell + 1,
        )  # fmt: skip
    styled(figure, "", "", height=150 + 24 * len(rows), legend=False)
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=columns, showgrid=False)
    return figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=rows, autorange="reversed", showgrid=False
    )


def histogram_figure(genotypes: Sequence[Mapping[str, Sequence]]) -> go.Figure:
    """The share of each operation over epochs, stacked, for each cell type; black: the entropy of the shares.

    Args:
        genotypes: that of each epoch, {cell type: nodes of inputs [operation, state]}.
    """
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=_CELLS, horizontal_spacing=0.12, specs=[[{"secondary_y": True}] * 2]
    )
    styled(legend_above(figure), "epoch", "share of the operations (%)", height=420)
    epochs = list(range(1, len(genotypes) + 1))
    history = {cell: [_counts(genotype[cell]) for genotype in genotypes] for cell in _CELLS}
    colours = _colours({name for counts in history.values() for own in counts for name in own})
    for place, cell in enumerate(_CELLS, start=1):
        counts = history[cell]
        totals = [sum(own.values()) or 1 for own in counts]
        for name, colour in colours.items():
            shares = [100 * own[name] / total for own, total in zip(counts, totals, strict=True)]
            figure.add_bar(
                x=epochs, y=shares, name=short_operation(name), legendgroup=name, showlegend=place == 1,
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate=f"epoch %{{x}}: {name} %{{y:.0f}} %<extra></extra>", row=1, col=place,
            )  # fmt: skip
        figure.add_scatter(
            x=epochs, y=[_entropy(own.values()) for own in counts], mode="lines+markers", name="entropy",
            legendgroup="entropy", showlegend=place == 1, line={"color": DARK, "width": 2.5}, marker={"size": 5},
            hovertemplate="epoch %{x}: entropy %{y:.2f} nats<extra></extra>", row=1, col=place, secondary_y=True,
        )  # fmt: skip
    most = 1.05 * math.log(max(len(colours), 2))
    figure.update_yaxes(range=[0, 100], secondary_y=False)
    figure.update_yaxes(title_text="", range=[0, most], dtick=0.5, showgrid=False, secondary_y=True)
    figure.update_yaxes(title_text="entropy (nats)", row=1, col=2, secondary_y=True)
    figure.update_yaxes(title_text="", row=1, col=2, secondary_y=False)
    return figure.update_layout(barmode="stack", bargap=0.05, legend_y=1.1, margin_t=70)


def _colours(names: set[str]) -> dict[str, str]:
    known = {name: colour for name, colour in _OPERATIONS if name in names}
    others = sorted(names - set(known))
    return known | {name: QUALITATIVE[-1 - i % len(QUALITATIVE)] for i, name in enumerate(others)}


def _counts(nodes: Sequence[Sequence]) -> Counter:
    return Counter(name for node in nodes for name, _ in node)


def _entropy(counts: Iterable[int]) -> float:
    counts = list(counts)
    return -sum(count / sum(counts) * math.log(count / sum(counts)) for count in counts)


def live_figure(live: Sequence[int], gammas: Sequence[float] | None = None) -> go.Figure:
    """How many operations of the super-net are alive after each epoch, and below it the weight of the KL.

    Args:
        live: number of live operations; gammas: weight of the KL, None: not drawn.
    """
    rows = 1 if gammas is None else 2
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.65, 0.35][:rows])
    styled(figure, "", "", height=300 + 160 * (rows - 1), legend=False)
    series = [(live, "live operations", "hv", BLUE), (gammas, "weight of the KL", "linear", ORANGE)]
    for row, (values, name, shape, colour) in enumerate(series[:rows], start=1):
        figure.add_scatter(
            x=list(range(1, len(values) + 1)), y=list(values), name=name, mode="lines+markers", marker={"size": 5},
            line={"color": colour, "width": 2.5, "shape": shape},
            hovertemplate=f"epoch %{{x}}: {name} %{{y:.4g}}<extra></extra>", row=row, col=1,
        )  # fmt: skip
        figure.update_yaxes(title_text=name, rangemode="tozero", row=row, col=1)
    return figure.update_xaxes(title_text="epoch", row=rows, col=1)
