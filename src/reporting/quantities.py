"""Numbers as people read them: 2.51 M, 1.39, 1:12. One spelling for tables, report, progress and figures."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

NOTHING = "-"


def is_number(value) -> bool:
    """Whether `value` can be shown as a number: not None, not NaN, not infinite, no text."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def amount(value: float | None) -> str:
    """A count (parameters, MACs) with a unit: 820, 85.3 k, 0.27 M, 2.51 M, 41.2 M, 1.25 G; "-" for no number."""
    if not is_number(value):
        return NOTHING
    for unit, size, smallest in (("G", 1e9, 0.9995), ("M", 1e6, 0.09995), ("k", 1e3, 0.9995)):
        scaled = value / size
        if abs(scaled) >= smallest:
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{value:.0f}"


def percent(value: float | None) -> str:
    """An error in percent with two digits, without the sign: 1.39."""
    return f"{value:.2f}" if is_number(value) else NOTHING


def seconds(value: float | None) -> str:
    """Seconds as a plain number, with one digit only below ten: 4.2, 127."""
    if not is_number(value):
        return NOTHING
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def clock(value: float | None) -> str:
    """A duration in seconds as m:ss or h:mm:ss; "?" where it is not known."""
    if not is_number(value):
        return "?"
    minutes, rest = divmod(round(max(value, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value) -> str:
    """Any other value: whole numbers whole, floats with four significant digits, text as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def relative(value: float | None, reference: float | None) -> str:
    """The change from `reference` to `value` in percent: -46 %, +3 %; empty where there is nothing to compare."""
    if not (is_number(value) and is_number(reference) and reference):
        return ""
    change = 100 * (value / reference - 1)
    return f"{change:+.0f} %" if abs(change) >= 9.95 or abs(change) < 0.05 else f"{change:+.1f} %"


def middle(values: Sequence[float | None]) -> float | None:
    """The median of the numbers among `values`; None where there is none."""
    numbers = [value for value in values if is_number(value)]
    return median(numbers) if numbers else None


def spread(values: Sequence[float | None], spell: Callable[[float | None], str]) -> str:
    """Smallest to largest of several runs, "1.11-1.67", without a shared unit; empty where all are spelled alike."""
    numbers = [value for value in values if is_number(value)]
    low, high = (spell(min(numbers)), spell(max(numbers))) if numbers else ("", "")
    if low == high:
        return ""
    (low_value, _, low_unit), (high_value, _, high_unit) = low.partition(" "), high.partition(" ")
    return f"{low_value}-{high_value}" if low_unit == high_unit else f"{low}-{high}"


def width_summary(widths: Mapping[str, int] | Sequence[Mapping[str, int]]) -> str:
    """Channel widths (or those of several runs together) in short: "16-64, mean 37.3"."""
    runs = [widths] if isinstance(widths, Mapping) else list(widths)
    values = [width for run in runs for width in run.values()]
    if not values:
        return NOTHING
    low, high, mean = min(values), max(values), sum(values) / len(values)
    return f"{low}" if low == high else f"{low}-{high}, mean {figure(round(mean, 1))}"
