"""Throughput over time as an inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncrad69.cli._progress import duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 960
_HEIGHT: Final = 240
# Around the plot, for the axes' words.
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 12, 12, 30
_BUCKETS: Final = 120
_LINES: Final = 4
_TICKS: Final = 7
# Between two ticks: what clocks show.
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS_S: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 7, 14)),
)
_EDGE: Final = 0.04


def throughput_chart(arrivals: Sequence[tuple[float, int]], started_at_s: float | None) -> str:
    """
    An SVG of how many bytes per second came when; empty where there are too few times to say.

    Args:
        arrivals: Time in seconds and size in bytes of each instance, in any order.
        started_at_s: Where the time axis begins; ``None`` for the first arrival.
    """
    times = [time for time, _ in arrivals]
    if started_at_s is not None:
        times.append(started_at_s)
    if len(arrivals) < 2 or max(times) <= min(times):
        return ""
    start, end = min(times), max(times)
    rates = _rates(arrivals, start, end)
    top = _round_up(max(rates))
    mean = sum(size_bytes for _, size_bytes in arrivals) / (end - start)
    description = f"{size(mean)}/s on average over {elapsed(end - start)}, {size(max(rates))}/s at most."
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart-title chart-desc">'
        '<title id="chart-title">Throughput over time</title>'
        f'<desc id="chart-desc">{description}</desc>'
        f"{_grid(top)}{_time_axis(end - start)}{_area(rates, top)}{_mean_line(mean, top)}</svg>"
        f"<p class=muted>{description} The dashed line is the average.</p>"
    )


def elapsed(seconds: float) -> str:
    """A duration for people; below a minute with as many digits as say something."""
    return duration(seconds) if seconds >= 60 else f"{seconds:.3g} s"


def _rates(arrivals: Sequence[tuple[float, int]], start: float, end: float) -> list[float]:
    """Bytes per second in equal spans. Few instances get few spans: a span without any would look like a stall."""
    count = max(2, min(_BUCKETS, len(arrivals) // 4))
    span = (end - start) / count
    sums = [0] * count
    for time, size_bytes in arrivals:
        sums[min(int((time - start) / span), count - 1)] += size_bytes
    return [total / span for total in sums]


def _round_up(rate: float) -> float:
    """The next 1, 2, 4 or 8 times a power of ten: its quarters are round, too."""
    power = 1.0
    while power * 8 < rate:
        power *= 10
    return next(step * power for step in (1, 2, 4, 8) if step * power >= rate)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(top: float) -> str:
    parts = []
    for line in range(_LINES + 1):
        y = _y(line / _LINES)
        parts.append(f'<line class=grid x1="{_LEFT}" x2="{_x(1):g}" y1="{y:g}" y2="{y:g}"/>')
        label = f"{size(top * line / _LINES)}/s" if line else "0"
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:g}" text-anchor="end">{label}</text>')
    return "".join(parts)


def _time_axis(seconds: float) -> str:
    step = next((step for step in _STEPS_S if seconds <= step * _TICKS), seconds / _TICKS)
    return "".join(_tick(number * step, seconds) for number in range(int(seconds / step) + 1))


def _tick(moment: float, seconds: float) -> str:
    share = moment / seconds
    # At an edge, beside it: the words would not fit around it.
    anchor = "start" if share < _EDGE else "end" if share > 1 - _EDGE else "middle"
    text = duration(moment) if seconds >= 60 else elapsed(moment)
    return f'<text x="{_x(share):g}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{text}</text>'


def _area(rates: list[float], top: float) -> str:
    """A step for each span: a curve between them would invent what was never measured."""
    corners = []
    for number, rate in enumerate(rates):
        y = _y(rate / top)
        corners += [f"{_x(number / len(rates)):.1f},{y:.1f}", f"{_x((number + 1) / len(rates)):.1f},{y:.1f}"]
    steps = " ".join(corners)
    base = f"{_y(0):g}"
    return (
        f'<polygon class=area points="{_x(0):g},{base} {steps} {_x(1):g},{base}"/>'
        f'<polyline class=curve points="{steps}"/>'
    )


def _mean_line(mean: float, top: float) -> str:
    y = _y(mean / top)
    return f'<line class=mean x1="{_LEFT}" x2="{_x(1):g}" y1="{y:.1f}" y2="{y:.1f}"/>'
