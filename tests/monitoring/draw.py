"""Charts as SVG, and numbers with their units as people write them. Must not know dashboards or Prometheus."""

import html
import math
import time

PALETTE = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
)
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "text": "#ccccdc",
    "transparent": "none",
}
LEFT, BOTTOM = 70, 22


def css(color):
    """A colour of Grafana's for a page."""
    return NAMED.get(color, color)


def quantity(value, unit, decimals=None):
    """A number with its unit."""
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f}%"
    if unit == "dateTimeAsIso":
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(value / 1000))
    if unit == "s":
        return _seconds(value)
    base, suffix = {"bytes": (1024, "iB"), "Bps": (1000, "B/s"), "bps": (1000, "b/s")}.get(unit, (1000, ""))
    size, prefix = abs(value), ""
    for step in ("k", "M", "G", "T") if base == 1000 else ("K", "M", "G", "T"):
        if size < base:
            break
        size, prefix = size / base, step
    word = {"reqps": " req/s", "pps": " p/s", "ops": " ops/s", "celsius": " °C"}.get(unit, "")
    if unit.startswith("si:"):
        prefix, word = "", f" {prefix}{unit[3:]}"
    if unit in ("bytes", "Bps", "bps"):
        word = f" {prefix}{suffix}" if prefix else (" B" if unit == "bytes" else f" {suffix}")
        prefix = ""
    digits = (
        decimals
        if decimals is not None
        else (0 if size == int(size) or size >= 100 else 1 if size >= 10 else 2)
    )
    return f"{'-' if value < 0 else ''}{size:.{digits}f}{prefix}{word}"


def _seconds(value):
    size, sign = abs(value), "-" if value < 0 else ""
    if not size:
        return "0 s"
    for limit, divisor, word in (
        (1e-3, 1e-6, "µs"),
        (1, 1e-3, "ms"),
        (120, 1, "s"),
        (7200, 60, "min"),
        (172800, 3600, "h"),
    ):
        if size < limit * 0.9995:  # what would be rounded to 1,000 is 1 of the next
            return f"{sign}{size / divisor:.3g} {word}"
    return f"{sign}{size / 86400:.3g} d"


def _axis(times, width, height):
    """Time along the bottom."""
    parts = []
    for part in range(5):
        at = times[0] + (times[1] - times[0]) * part / 4
        x = LEFT + (width - LEFT - 10) * part / 4
        text = time.strftime("%H:%M:%S", time.gmtime(at))
        parts.append(
            f'<text x="{x:.0f}" y="{height - 6}" fill="#8e8e8e" font-size="10" text-anchor="{"end" if part == 4 else "start"}">{text}</text>'
        )
    return "".join(parts)


def _svg(width, height, inside):
    return f'<svg width="{width}" height="{height}">{inside}</svg>'


def chart(series, times, width, height, field):
    """Lines, stacked perhaps. `series`: name, colour or None, points. Gives name, colour and points of those with
    any value, and the picture."""
    stacked = field["custom"]["stacking"]["mode"] == "normal"
    series = [
        (name, color, [point for point in points if not math.isnan(point[1])])
        for name, color, points in series
    ]
    series = [(name, css(color) if color else None, points) for name, color, points in series if points]
    series = [
        (name, color or PALETTE[number % len(PALETTE)], points)
        for number, (name, color, points) in enumerate(series)
    ]
    drawn, sums = [], {}
    for name, color, points in series:
        low = [(at, sums.get(at, 0)) for at, _ in points] if stacked else [(at, 0) for at, _ in points]
        high = [(at, value + (sums.get(at, 0) if stacked else 0)) for at, value in points]
        if stacked:
            sums.update(dict(high))
        drawn.append((name, color, low, high))
    values = [value for _, _, _, high in drawn for _, value in high]
    bottom = min([field.get("min", min(values)), *(v for v in values if v < 0)])
    top = max(values) if "max" not in field else field["max"]
    if top <= bottom:
        top = bottom + 1

    def x(at):
        return LEFT + (at - times[0]) / (times[1] - times[0]) * (width - LEFT - 10)

    def y(value):
        return 6 + (top - value) / (top - bottom) * (height - BOTTOM - 12)

    parts = []
    for part in range(5):
        value = bottom + (top - bottom) * part / 4
        parts.append(
            f'<line x1="{LEFT}" x2="{width - 10}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#2c2f34"/>'
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" fill="#8e8e8e" font-size="10" text-anchor="end">{quantity(value, field["unit"])}</text>'
        )
    for _, color, low, high in drawn:
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in high)
        area = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in reversed(low))
        parts.append(
            f'<polygon points="{line} {area}" fill="{color}" opacity="{field["custom"]["fillOpacity"] / 100}"/>'
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.2"/>'
        )
    if field["custom"]["thresholdsStyle"]["mode"] != "off":
        for step in field["thresholds"]["steps"][1:]:
            if bottom <= step["value"] <= top:
                parts.append(
                    f'<line x1="{LEFT}" x2="{width - 10}" y1="{y(step["value"]):.1f}" y2="{y(step["value"]):.1f}" stroke="{css(step["color"])}" stroke-dasharray="6 4"/>'
                )
    return [(name, color, points) for name, color, points in series], _svg(
        width, height, "".join(parts) + _axis(times, width, height)
    )


def bars(rows, times, width, height):
    """States over time. `rows`: name, and points of time, text and colour."""
    left = min(220, max(60, *(7 * len(name) + 10 for name, _ in rows)))
    tall, parts = (height - BOTTOM) / len(rows), []
    for number, (name, points) in enumerate(rows):
        top = number * tall
        parts.append(
            f'<text x="{left - 6}" y="{top + tall / 2 + 4:.1f}" fill="#ccccdc" font-size="11" text-anchor="end">{html.escape(name)}</text>'
        )
        said = None
        for index, (at, text, color) in enumerate(points):
            until = points[index + 1][0] if index + 1 < len(points) else times[1]
            begin, end = (
                left + (when - times[0]) / (times[1] - times[0]) * (width - left - 10) for when in (at, until)
            )
            parts.append(
                f'<rect x="{begin:.1f}" y="{top + tall * 0.08:.1f}" width="{max(end - begin, 1):.1f}" height="{tall * 0.84:.1f}" fill="{css(color)}" opacity="0.8"/>'
            )
            if text != said:
                parts.append(
                    f'<text x="{begin + 4:.1f}" y="{top + tall / 2 + 4:.1f}" fill="#111217" font-size="11">{html.escape(text)}</text>'
                )
                said = text
    return _svg(width, height, "".join(parts) + _axis(times, width, height))


def cells(rows, times, width, height, unit):
    """A histogram over time. `rows`: upper bounds in order, and points with the counts up to them."""
    counts, before = [], {}
    for bound, points in rows:
        counts.append((bound, [(at, max(0, value - before.get(at, 0))) for at, value in points]))
        before = dict(points)
    most = max((value for _, points in counts for _, value in points), default=0) or 1
    tall, parts = (height - BOTTOM) / len(counts), []
    for number, (bound, points) in enumerate(counts):
        top = height - BOTTOM - (number + 1) * tall
        label = "∞" if math.isinf(bound) else quantity(bound, unit)
        parts.append(
            f'<text x="{LEFT - 6}" y="{top + tall * 0.7:.1f}" fill="#8e8e8e" font-size="9" text-anchor="end">{label}</text>'
        )
        wide = (width - LEFT - 10) / max(len(points), 1)
        for at, value in points:
            x = LEFT + (at - times[0]) / (times[1] - times[0]) * (width - LEFT - 10)
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall - 1:.1f}" fill="#ff9830" opacity="{(value / most) ** 0.5:.2f}"/>'
            )
    return _svg(width, height, "".join(parts) + _axis(times, width, height))
