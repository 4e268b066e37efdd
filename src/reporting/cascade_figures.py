"""The figures of cascades: their front above the single networks, and where images leave them. Pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.errors import check_choice
from src.reporting import quantities
from src.reporting.figure_style import DARK, GREY, ORANGE, legend_above, line_colours, padded_range, styled

_NAMED_NETWORKS = 8  # up to so many networks their names stand beside the points
_COSTS = {  # name of a cost: title, unit on the axis
    "macs": ("average MACs (M)", 1e6),
    "latency": ("average latency (ms)", 1.0),
    "params": ("parameters (M)", 1e6),
}


@dataclass(frozen=True)
class FrontPoint:
    """A cascade or a network: error (percent) and cost on validation and, where known, on test."""

    name: str
    error: float
    cost: float
    test_error: float | None = None
    test_cost: float | None = None


@dataclass(frozen=True)
class CascadeStages:
    """Where images leave a cascade: names (K) of its members in order, images that reach each (K), MACs of each (K)."""

    name: str
    members: Sequence[str]
    reached: Sequence[int]
    macs: Sequence[float]


def cascade_front_figure(
    cascades: Sequence[FrontPoint],
    networks: Sequence[FrontPoint] = (),
    exact: Sequence[tuple[float, float]] | None = None,
    cost: str = "macs",
) -> go.Figure:
    """Error against cost (logarithmic) of the cascades of a front, with the single networks beneath.

    `exact`: the (error, cost) of the best front that there is, on validation, where it is known. `cost` says what is on
    the axis: macs, latency or params. Where a cascade has test values there is a second drawing below, of test: a front
    chosen on validation need not fall there. What has no finite error and positive cost is left out.
    """
    title, unit = _COSTS[check_choice("cost", cost, _COSTS)]
    parts = [
        ("validation", [(p.name, p.error, p.cost) for p in cascades], [(p.name, p.error, p.cost) for p in networks])
    ]
    if any(quantities.is_number(p.test_error) for p in cascades):
        on_test = [[(p.name, p.test_error, p.test_cost) for p in points] for points in (cascades, networks)]
        parts.append(("test", *on_test))
    figure = make_subplots(rows=len(parts), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    styled(legend_above(figure), "", "", height=160 + 400 * len(parts))
    drawn = []
    for row, (part, of_cascades, of_networks) in enumerate(parts, start=1):
        of_cascades, of_networks = _drawable(of_cascades, unit), _drawable(of_networks, unit)
        best = _drawable([("exact front", *point) for point in exact or ()], unit) if part == "validation" else []
        traces = [_network_trace(of_networks, part), _exact_trace(best), _cascade_trace(of_cascades, part)]
        for trace in filter(None, traces):
            figure.add_trace(trace.update(showlegend=row == 1), row=row, col=1)
        figure.update_yaxes(title_text=f"{part} error (%)", row=row, col=1)
        drawn += of_cascades + of_networks + best
    figure.update_yaxes(range=padded_range([error for _, error, _ in drawn], floor=0))  # the same, to be compared
    figure.update_xaxes(type="log", **_log_axis([place for _, _, place in drawn]))
    return figure.update_xaxes(title_text=title, row=len(parts), col=1)


def front_caption(
    cascades: Sequence[FrontPoint], networks: Sequence[FrontPoint], exact: bool = False, kind: str = "cascade"
) -> str:
    """What stands below the picture of a front; `kind`: what its members are, such as "ensemble"."""
    several = kind if len(cascades) == 1 else f"{kind}s"
    text = f"{len(cascades)} {several} (line) of a pool of {len(networks)} networks (grey): error against average cost."
    if exact:
        text += " Dotted: the exact front, which no search can pass."
    if any(quantities.is_number(p.test_error) for p in cascades):
        text += (
            f" Above on validation, where the {kind}s were chosen; below the same ones on test, costs counted there."
        )
    return text


def exits_figure(cascades: Sequence[CascadeStages]) -> go.Figure:
    """For each cascade a bar of the images that leave it at each stage, and one of the MACs that each stage takes."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.03)
    styled(legend_above(figure), "", "", height=160 + 46 * max(len(cascades), 2))
    longest = max((len(cascade.members) for cascade in cascades), default=0)
    shares = [_shares(cascade) for cascade in cascades]
    for stage, colour in enumerate(line_colours(longest) if longest else []):
        rows = [i for i, cascade in enumerate(cascades) if stage < len(cascade.members)]
        for column, (index, word) in enumerate(((0, "of the images leave here"), (1, "of the MACs")), start=1):
            values = [100 * shares[i][index][stage] for i in rows]
            names = [cascades[i].members[stage] for i in rows]
            reached = [cascades[i].reached[stage] for i in rows]
            figure.add_bar(
                name=f"stage {stage + 1}",
                legendgroup=str(stage),
                showlegend=column == 1,
                orientation="h",
                y=rows,
                x=values,
                text=names,
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                marker={"color": colour, "line": {"color": "white", "width": 1}},
                hovertext=[
                    f"<b>stage {stage + 1}: {name}</b><br>{value:.1f} % {word}<br>{count} images reach it"
                    for name, value, count in zip(names, values, reached, strict=True)
                ],
                hoverinfo="text",
                row=1,
                col=column,
            )
    figure.update_layout(barmode="stack", bargap=0.25, uniformtext={"minsize": 9, "mode": "hide"})
    names = [cascade.name for cascade in cascades]  # two may have the same
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False)
    figure.update_xaxes(range=[0, 100])
    figure.update_xaxes(title_text="images that leave (%)", row=1, col=1)
    return figure.update_xaxes(title_text="MACs (%)", row=1, col=2)


EXITS_CAPTION = (
    "For each cascade, stage after stage: on the left the share of the images that leave it there with an answer, "
    "on the right the share of all MACs that the stage takes."
)


def _shares(cascade: CascadeStages) -> tuple[list[float], list[float]]:
    """Of all images the share that leaves at each stage, and of all MACs the share of each stage."""
    if not len(cascade.members) == len(cascade.reached) == len(cascade.macs):
        raise ValueError(f"cascade {cascade.name!r}: members, reached and macs must be of one length")
    reached = [int(count) for count in cascade.reached]
    left = [count - later for count, later in zip(reached, [*reached[1:], 0], strict=True)]
    spent = [count * float(macs) for count, macs in zip(reached, cascade.macs, strict=True)]
    images, macs = max(reached[0], 1), sum(spent) or 1.0
    return [count / images for count in left], [value / macs for value in spent]


def _drawable(points: Sequence[tuple], unit: float) -> list[tuple[str, float, float]]:
    """(name, error, cost on the axis) by increasing cost, without those that have no place on a logarithmic axis."""
    numbers = [(name, float(error), float(cost) / unit) for name, error, cost in points if None not in (error, cost)]
    numbers = [point for point in numbers if math.isfinite(point[1]) and math.isfinite(point[2]) and point[2] > 0]
    return sorted(numbers, key=lambda point: (point[2], point[1]))


def _network_trace(points: list[tuple[str, float, float]], part: str) -> go.Scatter | None:
    named = len(points) <= _NAMED_NETWORKS
    middle = math.sqrt(points[0][2] * points[-1][2]) if points else 0.0  # names point to the middle, to have room
    return points and go.Scatter(
        name="single networks",
        legendgroup="networks",
        mode="markers+text" if named else "markers",
        text=[name for name, _, _ in points] if named else None,
        textposition=["top right" if cost <= middle else "top left" for _, _, cost in points],
        textfont={"size": 11, "color": DARK},
        marker={"color": GREY, "symbol": "diamond", "size": 8 if len(points) <= 60 else 5, "opacity": 0.8},
        **_places(points, part),
    )


def _exact_trace(points: list[tuple[str, float, float]]) -> go.Scatter | None:
    return points and go.Scatter(
        name="exact front",
        legendgroup="exact",
        mode="lines",
        line={"color": DARK, "width": 1.4, "dash": "dot", "shape": "hv"},
        **_places(points, "validation"),
    )


def _cascade_trace(points: list[tuple[str, float, float]], part: str) -> go.Scatter | None:
    on_test = part == "test"
    return points and go.Scatter(
        name="cascades",
        legendgroup="cascades",
        mode="lines+markers",
        # On test a cascade may be worse than a cheaper one: steps would draw a front that is none.
        line={"color": ORANGE, "width": 2, "shape": "linear" if on_test else "hv"},
        marker={"color": ORANGE, "size": 7 if len(points) <= 60 else 4},
        **_places(points, part),
    )


def _places(points: list[tuple[str, float, float]], part: str) -> dict:
    hover = [f"<b>{name}</b><br>{part} error {error:.2f} %<br>cost {cost:.4g}" for name, error, cost in points]
    places = {"x": [cost for _, _, cost in points], "y": [error for _, error, _ in points]}
    return places | {"hovertext": hover, "hoverinfo": "text"}


def _log_axis(values: list[float]) -> dict:
    """Range and ticks of a logarithmic axis: plain numbers, the fewer to a power of ten the more of these there are."""
    if not values:
        return {}
    low, high = math.log10(min(values)), math.log10(max(values))
    air = 0.05 * (high - low) or 0.1
    digits = (1, 1.5, 2, 3, 5, 7) if high - low < 1.3 else (1, 2, 5) if high - low < 3 else (1,)
    ticks = [float(f"{digit}e{power}") for power in range(math.floor(low) - 1, math.ceil(high) + 1) for digit in digits]
    return {"range": [low - air, high + air], "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}
