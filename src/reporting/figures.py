"""The figures of a search, as pure functions from plain data to plotly figures.

Epochs, updates and trials are counted from 0 in the data and from 1 on the axes, as in the progress bar.
"""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from src.reporting import quantities
from src.reporting.candidates import Candidate, pareto_front
from src.reporting.figure_style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    legend_above,
    line_colours,
    mark_boundaries,
    padded_range,
    styled,
    write_inside,
)

_NAMED_POINTS = 30  # up to so many candidates their ids stand beside the points
_NUMBERED_COLUMNS = 30  # up to so many columns the cells of the width map hold their number
_DOTTED_EPOCHS = 60  # up to so many epochs a curve has dots: a trial of one epoch has no line to show
_HOVER_GROUPS = 24  # up to so many widths are listed in a hover text, else a summary


def front_figure(
    candidates: Sequence[Candidate],
    base: Candidate | Mapping | None = None,
    found: Candidate | Mapping | None = None,
) -> go.Figure:
    """Error against MACs of all candidates, with the Pareto front, the base network and the one that was found.

    `base` and `found` are candidates or mappings with `macs` and, where known, `error`, `params` and `name`. A base
    whose error is not known becomes a vertical line at its MACs. Candidates without a finite error are left out;
    outdated ones are pale.
    """
    finite = [candidate for candidate in candidates if math.isfinite(candidate.error)]
    shown = [candidate for candidate in finite if not candidate.outdated]
    outdated = [candidate for candidate in finite if candidate.outdated]
    front = pareto_front(shown)
    figure = go.Figure()
    if outdated:
        figure.add_scatter(
            name="outdated candidates",
            x=[c.macs / 1e6 for c in outdated],
            y=[c.error for c in outdated],
            mode="markers",
            hovertext=[hover_text(c) for c in outdated],
            hoverinfo="text",
            marker={"color": GREY, "size": 5, "opacity": 0.3},
        )
    figure.add_scatter(
        name="candidates",
        x=[c.macs / 1e6 for c in shown],
        y=[c.error for c in shown],
        mode="markers+text" if len(shown) <= _NAMED_POINTS else "markers",
        text=[str(c.id) for c in shown],
        textposition="top right",
        textfont={"size": 11, "color": DARK},
        hovertext=[hover_text(c) for c in shown],
        hoverinfo="text",
        marker={"color": BLUE, "size": 9 if len(shown) <= 60 else 6, "opacity": 0.65},
    )
    figure.add_scatter(
        name="Pareto front",
        x=[c.macs / 1e6 for c in front],
        y=[c.error for c in front],
        mode="lines+markers",
        line={"color": ORANGE, "width": 2, "shape": "hv"},
        hovertext=[hover_text(c) for c in front],
        hoverinfo="text",
        marker={"color": "rgba(0,0,0,0)", "size": 13, "line": {"color": ORANGE, "width": 2}},
    )
    marked = [_point(base, "base network"), _point(found, "found network")]
    for point, symbol, colour in zip(marked, ("diamond", "star"), (DARK, GREEN), strict=True):
        _mark_network(figure, point, symbol, colour)
    marked = [point for point in marked if point]
    errors = [c.error for c in finite] + [p["error"] for p in marked if quantities.is_number(p["error"])]
    macs = [c.macs / 1e6 for c in finite] + [p["macs"] / 1e6 for p in marked]
    styled(legend_above(figure), "MACs (M)", "validation error (%)", height=500)
    figure.update_xaxes(range=padded_range(macs, floor=0))
    figure.update_yaxes(range=padded_range(errors))
    return figure


def hover_text(candidate: Candidate) -> str:
    """All that is known of a candidate, for a hover box: id, objectives, extra figures and widths."""
    origin = "" if candidate.parent is None else f", made from {candidate.parent}"
    lines = [
        f"<b>candidate {candidate.id}</b>{origin}, epoch {candidate.step + 1}",
        f"validation error {quantities.percent(candidate.error)} %",
        f"{quantities.amount(candidate.macs)} MACs, {quantities.amount(candidate.params)} parameters",
        *(f"{name.replace('_', ' ')}: {quantities.figure(value)}" for name, value in candidate.extra.items()),
    ]
    widths = candidate.widths
    if widths and len(widths) <= _HOVER_GROUPS:
        listed = [f"{group} {width}" for group, width in widths.items()]
        lines.append("widths")
        lines.extend(", ".join(listed[i : i + 4]) for i in range(0, len(listed), 4))
    elif widths:
        lines.append(f"widths {quantities.width_summary(widths)}")
    return "<br>".join(lines)


def _point(network: Candidate | Mapping | None, name: str) -> dict | None:
    if network is None:
        return None
    values = network.to_dict() if isinstance(network, Candidate) else dict(network)
    return {"name": name, "error": None, "params": None} | values


def _mark_network(figure: go.Figure, point: dict | None, symbol: str, colour: str) -> None:
    if point is None:
        return
    text = f"<b>{point['name']}</b><br>{quantities.amount(point['macs'])} MACs"
    if quantities.is_number(point["params"]):
        text += f", {quantities.amount(point['params'])} parameters"
    if not quantities.is_number(point["error"]):
        # Drawn as a trace, not as a shape, so that the legend names it and a click hides it.
        figure.add_scatter(
            name=f"{point['name']} (MACs only)",
            x=[point["macs"] / 1e6] * 2,
            y=[0, 100],
            mode="lines",
            line={"color": colour, "width": 1.5, "dash": "dash"},
            hovertext=text,
            hoverinfo="text",
        )
        return
    text += f"<br>error {quantities.percent(point['error'])} %"
    figure.add_scatter(
        name=point["name"],
        x=[point["macs"] / 1e6],
        y=[point["error"]],
        mode="markers",
        hovertext=text,
        hoverinfo="text",
        marker={"symbol": symbol, "size": 14, "color": colour, "line": {"color": "white", "width": 1}},
    )


def width_figure(
    trials: Sequence[Candidate] | Sequence[Mapping[str, int]],
    start: Mapping[str, int] | None = None,
    found: Mapping[str, int] | None = None,
) -> go.Figure:
    """Channel widths as a map, a row for each group (in the order of the network) and a column for each trial.

    With `start` the colour tells how a width stands to its start (blue: wider, brown: narrower, on a scale of
    doublings); without it the width itself. The number in a cell is the width. `found`: the widths of the result, which
    the search need not have evaluated, in a last column.
    """
    of_candidates = bool(trials) and isinstance(trials[0], Candidate)
    columns = [trial.widths or {} for trial in trials] if of_candidates else [dict(trial) for trial in trials]
    names = [str(trial.id) if of_candidates else str(i + 1) for i, trial in enumerate(trials)]
    if found:
        columns, names = [*columns, dict(found)], [*names, "found"]
    groups = list(dict.fromkeys(group for column in columns for group in column))
    widths = [[column.get(group) for column in columns] for group in groups]
    if start is None:
        colours = widths
        widest = max((width for row in widths for width in row if width), default=1)
        scale = {"colorscale": "Blues", "zmin": 0, "zmax": widest, "colorbar": {"title": "width", "thickness": 14}}
    else:
        colours = [
            [_doublings(width, start.get(group)) for width in row] for group, row in zip(groups, widths, strict=True)
        ]
        reach = max((abs(value) for row in colours for value in row if value is not None), default=0.0)
        scale = _start_scale(max(reach, 0.5))
    word = "candidate" if of_candidates else "trial"
    numbered = len(columns) <= _NUMBERED_COLUMNS
    figure = go.Figure()
    figure.add_heatmap(
        z=colours,
        x=names,
        y=groups,
        text=[["" if width is None else str(width) for width in row] for row in widths],
        texttemplate="%{text}" if numbered else None,
        xgap=1 if numbered else 0,
        ygap=1,
        hoverongaps=False,
        hovertemplate=f"{word} %{{x}}<br>%{{y}}: width %{{text}}<extra></extra>",
        **scale,
    )
    styled(figure, word, "", height=120 + min(max(22 * len(groups), 66), 1300))
    figure.update_xaxes(type="category", showgrid=False, nticks=min(len(columns), 25) or 1, tickangle=0)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def _doublings(width: int | None, start: int | None) -> float | None:
    return math.log2(width / start) if width and start else None


def _start_scale(reach: float) -> dict:
    """A brown-white-blue scale, even in doublings, whose ticks are factors such as x0.5, x1 and x2."""
    factors = [2.0**power for power in range(-math.floor(reach), math.floor(reach) + 1)]
    if reach < 1:
        factors = [2**-reach, 1.0, 2**reach]
    bar = {"title": "to start", "thickness": 14, "tickvals": [math.log2(factor) for factor in factors]}
    bar["ticktext"] = [f"x {quantities.figure(round(factor, 2))}" for factor in factors]
    colours = [[0.0, "#B35806"], [0.25, "#FDB863"], [0.5, "#F7F7F7"], [0.75, "#92C5DE"], [1.0, "#2166AC"]]
    return {"colorscale": colours, "zmin": -reach, "zmax": reach, "colorbar": bar}


def rank_figure(curves: Mapping[str, Sequence[float | None]], boundaries: Sequence[int] = ()) -> go.Figure:
    """The rank of each width variable after each epoch of the search; lines break where a new trial begins.

    `curves` holds a value (or None) for each epoch, `boundaries` the first epoch (from 0) of each trial but the first.
    With many variables the colour follows their order: first dark, last light.
    """
    figure = _lines(curves, boundaries)
    styled(figure, "epoch", "relative rank", height=480)
    figure.update_yaxes(rangemode="tozero")
    _whole_epochs(figure, curves)
    return mark_boundaries(figure, boundaries)


def slope_figure(slopes: Mapping[str, Sequence[float]], delta: float) -> go.Figure:
    """The rank average slope of each width variable at each update, against the threshold delta."""
    return _against_threshold(slopes, delta, "delta", "rank average slope (1/epoch)")


def condition_figure(conditions: Mapping[str, Sequence[float]], mu: float) -> go.Figure:
    """The mapping condition of each width variable at each update, against the threshold mu.

    The axis is logarithmic: the condition 0 of a weight of rank 0 has no place on it.
    """
    figure = _against_threshold(conditions, mu, "mu", "mapping condition")
    values = [value for curve in conditions.values() for value in curve]
    if values and not any(quantities.is_number(value) and value > 0 for value in values):
        write_inside(figure, "every rank is 0, so nothing has a condition")
    ticks = [float(f"{digit}e{power}") for power in range(-3, 6) for digit in (1, 2, 5)]
    return figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def learning_curves_figure(curves: Mapping[str, Sequence[float | None]], boundaries: Sequence[int] = ()) -> go.Figure:
    """Errors above and losses below, over the epochs of the search.

    A curve whose name contains "loss" goes below, all others above; `curves` holds a value (or None) for each epoch.
    """
    parts = [
        ("error (%)", {name: values for name, values in curves.items() if "loss" not in name}),
        ("loss", {name: values for name, values in curves.items() if "loss" in name}),
    ]
    parts = [(title, part) for title, part in parts if part]
    figure = make_subplots(rows=max(len(parts), 1), cols=1, shared_xaxes=True, vertical_spacing=0.07)
    styled(figure, "", "", height=140 + 210 * max(len(parts), 1))
    colour = dict(zip(curves, line_colours(len(curves)), strict=True))
    for row, (title, part) in enumerate(parts, start=1):
        for trace in _lines(part, boundaries).data:
            figure.add_trace(trace.update(line_color=colour[trace.name]), row=row, col=1)
        figure.update_yaxes(title_text=title, rangemode="tozero", row=row, col=1)
    figure.update_xaxes(title_text="epoch", row=max(len(parts), 1), col=1)
    _whole_epochs(figure, curves)
    return mark_boundaries(figure, boundaries)


def _lines(curves: Mapping[str, Sequence[float | None]], boundaries: Sequence[int]) -> go.Figure:
    """A line for each curve at x = 1, 2, ...; broken at `boundaries`, drawn through epochs without a value."""
    figure = go.Figure()
    for (name, values), colour in zip(curves.items(), line_colours(len(curves)), strict=True):
        x, y = [], []
        for epoch, value in enumerate(values):
            if epoch in boundaries:
                x.append(None)
                y.append(None)
            if quantities.is_number(value):
                x.append(epoch + 1)
                y.append(value)
        figure.add_scatter(
            name=name,
            x=x,
            y=y,
            line={"color": colour, "width": 1.6},
            marker={"size": 5},
            mode="lines+markers" if len(values) <= _DOTTED_EPOCHS else "lines",
            connectgaps=False,
            hovertemplate=f"{name}<br>%{{x}}: %{{y:.4g}}<extra></extra>",
        )
    return figure


def _whole_epochs(figure: go.Figure, curves: Mapping[str, Sequence]) -> None:
    """Of a few epochs every one gets a tick, since plotly would put some at 1.5; and one epoch is not a point at 0."""
    last = max((len(values) for values in curves.values()), default=0)
    if last <= 20:
        figure.update_xaxes(dtick=1, range=[0.5, max(last, 1) + 0.5])


def _against_threshold(curves: Mapping[str, Sequence[float]], threshold: float, name: str, title: str) -> go.Figure:
    figure = _lines(curves, ())
    last = max((len(values) for values in curves.values()), default=0)
    # A trace rather than a shape: it has a legend entry, and its height means the same on a logarithmic axis.
    figure.add_scatter(
        name=f"{name} = {quantities.figure(threshold)}",
        x=[0.5, last + 0.5],
        y=[threshold, threshold],
        mode="lines",
        line={"color": DARK, "width": 1.8, "dash": "dash"},
        hoverinfo="name",
    )
    styled(figure, "update", title)
    if not last:
        write_inside(figure, "no update yet")
    return figure.update_xaxes(dtick=1 if last <= 30 else None, range=[0.5, max(last, 1) + 0.5])
