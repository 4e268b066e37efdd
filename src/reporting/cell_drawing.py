"""The plan of a cell as a plotly figure."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from src.reporting.cell_names import is_parameter_free, short_operation, state_name
from src.reporting.cell_plan import Plan
from src.reporting.figure_style import BLUE, DARK, GREY, ORANGE, PURPLE, legend_above, styled

_LINE = "#777777"
_KINDS = (  # of operations: name in the legend, names begin with, colour of the border and of the box
    ("separable convolution", "sep_", BLUE, "#CFE5F2"),
    ("dilated convolution", "dil_", PURPLE, "#F5E1EB"),
    ("parameter-free", "", ORANGE, "#FFFFFF"),
    ("other operation", "", GREY, "#F2F2F2"),
)


def drawn(plan: Plan, title: str) -> go.Figure:
    """The drawing of a plan; operations without parameters are white and dashed."""
    figure = styled(legend_above(go.Figure()), "", "", height=94 + round(88 * (plan.depth + 0.8)))
    xs, ys = [], []
    for wire in plan.wires:
        xs += [*(x for x, _ in wire), None]
        ys += [*(y for _, y in wire), None]
    line = {"color": _LINE, "width": 1.6}
    figure.add_scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for way, symbol in (("right", "triangle-right"), ("down", "triangle-down")):
        places = [(x - 0.02 if way == "right" else x, y) for x, y, points in plan.arrows if points == way]
        _add_marks(figure, places, {"symbol": symbol, "size": 8, "color": _LINE})
    _add_marks(figure, plan.dots, {"size": 5, "color": _LINE})
    _add_boxes(figure, plan)
    _add_states(figure, plan)
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[-0.45, plan.width + 0.55], **hidden)
    figure.update_yaxes(range=[-plan.depth - 0.4, 0.4], **hidden)
    return figure.update_layout(
        title={"text": title, "x": 0.01, "y": 0.98, "yanchor": "top", "font": {"size": 15}},
        margin={"l": 10, "b": 10, "t": 84},
    )


def _add_marks(figure: go.Figure, places: Sequence, marker: Mapping) -> None:
    x, y = [x for x, _ in places], [y for _, y in places]
    figure.add_scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)


def _add_boxes(figure: go.Figure, plan: Plan) -> None:
    for kind, (name, _, colour, fill) in enumerate(_KINDS):
        own = [box for box in plan.boxes if _kind(box.operation) == kind]
        border = {"color": colour, "width": 1.6, "dash": "dash" if fill == "#FFFFFF" else "solid"}
        for box in own:
            figure.add_shape(
                type="rect",
                x0=box.left,
                x1=box.right,
                y0=box.bottom,
                y1=box.top,
                line=border,
                fillcolor=fill,
                layer="below",
            )
        if own:
            figure.add_scatter(
                x=[(box.left + box.right) / 2 for box in own],
                y=[(box.bottom + box.top) / 2 for box in own],
                mode="text",
                text=[short_operation(box.operation) for box in own],
                customdata=[[box.operation, state_name(box.state), box.node] for box in own],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]} to node %{customdata[2]}<extra></extra>",
                textfont={"size": 13, "color": DARK},
                showlegend=False,
            )
            figure.add_scatter(
                x=[None], y=[None], mode="markers", name=name,
                marker={"symbol": "square", "size": 13, "color": fill, "line": {"color": colour, "width": 2}},
            )  # fmt: skip


def _kind(operation: str) -> int:
    if is_parameter_free(operation):
        return 2
    return next((kind for kind in (0, 1) if operation.startswith(_KINDS[kind][1])), 3)


def _add_states(figure: go.Figure, plan: Plan) -> None:
    for state, (x, y) in enumerate(plan.states):
        if state < 2:
            figure.add_annotation(
                x=x, y=y, text=f"c<sub>k-{2 - state}</sub>", showarrow=False, xanchor="right", font={"size": 15}
            )
    nodes = plan.states[2:]
    figure.add_scatter(
        x=[x for x, _ in nodes],
        y=[y for _, y in nodes],
        mode="markers+text",
        text=[f"<b>{node}</b>" for node in range(len(nodes))],
        marker={"size": 26, "color": "white", "line": {"color": DARK, "width": 2}},
        hovertemplate="node %{text}: the sum of what comes down<extra></extra>",
        showlegend=False,
    )
    if plan.outputs:
        low, high = (choice(y for _, y in plan.outputs) for choice in (min, max))
        figure.add_shape(
            type="rect", x0=plan.width, x1=plan.width + 0.09, y0=low - 0.2, y1=high + 0.2, fillcolor=DARK, line_width=0
        )
        figure.add_annotation(
            x=plan.width + 0.14, y=(low + high) / 2, text="output<br>c<sub>k</sub>", showarrow=False, xanchor="left"
        )  # fmt: skip
