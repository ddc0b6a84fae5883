"""Draws dashboards as pages, with the data that a Prometheus has now: what Grafana would show, roughly.

    render.py URL FOLDER [SECONDS]     writes FOLDER/*.html, of the last SECONDS (300)

For the eye of whoever changes a dashboard: colours, units, thresholds, mappings, legends, columns and the grid
are those of the JSON; fonts, axes and animation are not. A browser makes a picture of a page.
"""

import html
import math
import pathlib
import sys

import draw
import grafana

CELL_WIDTH, CELL_HEIGHT, GAP = 62, 38, 8
STYLE = """
body { background: #111217; color: #ccccdc; font: 13px "DejaVu Sans", sans-serif; margin: 12px; width: 1500px }
h1 { font-size: 18px; margin: 0 0 6px } .variables { color: #8e8e8e; margin-bottom: 8px }
.grid { position: relative } .panel { position: absolute; background: #181b1f; border: 1px solid #2c2f34; overflow: hidden }
.panel h2 { font-size: 13px; font-weight: 600; margin: 5px 8px } .row { position: absolute; font-size: 15px; padding-top: 9px }
.big { font-size: 30px; text-align: center; padding-top: 22px } .none { color: #8e8e8e; text-align: center; padding-top: 30px }
table { border-collapse: collapse; width: 100%; font-size: 12px } td, th { text-align: left; padding: 3px 8px; border-bottom: 1px solid #2c2f34; white-space: nowrap }
th { color: #6e9fff } a { color: #6e9fff } .legend { font-size: 11px; padding: 0 8px } .swatch { display: inline-block; width: 12px; height: 4px; margin: 2px 5px 2px 0 }
.side { position: absolute; right: 4px; top: 26px; overflow: hidden; max-height: 88% } .side td, .side th { padding: 1px 6px; border: 0; font-size: 11px }
"""


def overrides(panel, name):
    """The properties of a field, the defaults and what overrides them by its name."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        by_name = matcher["id"] == "byName" and matcher["options"] == name
        if by_name or (matcher["id"] == "byRegexp" and grafana.re.fullmatch(matcher["options"], name)):
            found.update({entry["id"]: entry["value"] for entry in override["properties"]})
    return found


def shown(value, field):
    """A value as text, and its colour."""
    for mapping in field.get("mappings", ()):
        option = mapping["options"].get(f"{value:g}")
        if option:
            return option["text"], option["color"]
    color = grafana.color_of(field["thresholds"], value) if "thresholds" in field else "text"
    return draw.quantity(value, field.get("unit", "short"), field.get("decimals")), color


def stat(panel, answers):
    series = answers[0][1]
    if not grafana.has_points(series):
        return f'<div class="big">{panel["fieldConfig"]["defaults"]["noValue"]}</div>'
    labels, points = series[0]
    text, color = shown(points[-1][1], panel["fieldConfig"]["defaults"])
    if panel["options"]["textMode"] == "name":
        text = grafana.legend(answers[0][0], labels)
    return f'<div class="big" style="color:{draw.css(color)}">{html.escape(text)}</div>'


def lines(panel, answers, prometheus, size):
    field, found = panel["fieldConfig"]["defaults"], []
    for target, series in answers:
        for labels, points in series:
            name = grafana.legend(target, labels)
            properties = overrides(panel, name)
            sign = -1 if properties.get("custom.transform") == "negative-Y" else 1
            fixed = properties["color"].get("fixedColor")
            found.append((name, fixed, [(at, sign * value) for at, value in points]))
    side = panel["options"]["legend"]["placement"] == "right"
    width, height = size[0] - (300 if side else 0), size[1] - (32 if side else 80)
    found, picture = draw.chart(
        found, (prometheus.end - prometheus.span, prometheus.end), width, height, field
    )
    if not side:
        names = (
            f'<span class="swatch" style="background:{color}"></span>{html.escape(name)} '
            for name, color, _ in found
        )
        return picture + f'<div class="legend">{"".join(names)}</div>'
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:{color}"></span>{html.escape(name[:30])}</td>'
        f"<td>{draw.quantity(max((v for _, v in points), key=abs), field['unit'])}</td><td>{draw.quantity(points[-1][1], field['unit'])}</td></tr>"
        for name, color, points in sorted(found, key=lambda entry: -abs(entry[2][-1][1]))
    )
    return (
        picture
        + f'<table class="side" style="width:290px"><tr><th>Name</th><th>Max</th><th>Last</th></tr>{rows}</table>'
    )


def timeline(panel, answers, prometheus, size):
    rows = [
        (
            grafana.legend(answers[0][0], labels),
            [(at, *shown(value, panel["fieldConfig"]["defaults"])) for at, value in points],
        )
        for labels, points in answers[0][1]
    ]
    return draw.bars(rows, (prometheus.end - prometheus.span, prometheus.end), size[0], size[1] - 32)


def heatmap(panel, answers, prometheus, size):
    rows = sorted((float(labels["le"]), points) for labels, points in answers[0][1])
    return draw.cells(
        rows,
        (prometheus.end - prometheus.span, prometheus.end),
        size[0],
        size[1] - 32,
        panel["options"]["yAxis"]["unit"],
    )


def table(panel, answers):
    """Merges the answers by their labels and orders the columns, as the panel's transformations say."""
    organize = panel["transformations"][1]["options"]
    renamed, rows = organize["renameByName"], {}
    for target, series in answers:
        value_name = "Value" if len(answers) == 1 else f"Value #{target['refId']}"
        for labels, points in series:
            labels = {key: value for key, value in labels.items() if key != "__name__"}
            rows.setdefault(tuple(sorted(labels.items())), dict(labels))[value_name] = points[-1][1]
    names = sorted(
        {name for row in rows.values() for name in row} | set(renamed),
        key=lambda name: organize["indexByName"].get(name, 99),
    )
    by = {title: name for name, title in renamed.items()}
    for order in panel["options"]["sortBy"]:
        rows = dict(sorted(rows.items(), key=lambda row: -row[1].get(by[order["displayName"]], -math.inf)))
    head = "".join(f"<th>{html.escape(renamed.get(name, name + ' (!)'))}</th>" for name in names)
    body = ""
    for row in rows.values():
        body += "<tr>"
        for name in names:
            field = overrides(panel, renamed.get(name, name))
            text, color = row.get(name, ""), "text"
            if isinstance(text, float):
                text, color = shown(text, field)
            text = html.escape(text)
            body += (
                f'<td style="color:{draw.css(color)}">{f"<a>{text}</a>" if "links" in field else text}</td>'
            )
        body += "</tr>"
    return f"<table><tr>{head}</tr>{body}</table>"


def contents(panel, prometheus, chosen, size):
    """What is in a panel."""
    if panel["datasource"]["type"] != "prometheus":
        return f'<div class="none">from Loki: {html.escape(grafana.filled(panel["targets"][0]["expr"], chosen))}</div>'
    answers = [(target, prometheus.ask(target, chosen)) for target in panel["targets"]]
    kind = panel["type"]
    if kind == "stat":
        return stat(panel, answers)
    if kind == "table":
        return table(panel, answers)
    if not any(grafana.has_points(series) for _, series in answers):
        return f'<div class="none">{panel["fieldConfig"]["defaults"].get("noValue", "No data")}</div>'
    return {"timeseries": lines, "state-timeline": timeline, "heatmap": heatmap}[kind](
        panel, answers, prometheus, size
    )


def page(board, prometheus, preferred):
    """A dashboard as HTML; collapsed rows are shown open, at the end."""
    chosen, _ = grafana.choose(board, prometheus, preferred)
    parts, bottom = [], 0
    everything = []
    for panel in board["panels"]:
        everything += [panel, *panel.get("panels", ())]
    for panel in everything:
        at = panel["gridPos"]
        width, height = at["w"] * CELL_WIDTH - GAP, at["h"] * CELL_HEIGHT - GAP
        bottom = max(bottom, (at["y"] + at["h"]) * CELL_HEIGHT)
        place = (
            f"left:{at['x'] * CELL_WIDTH}px;top:{at['y'] * CELL_HEIGHT}px;width:{width}px;height:{height}px"
        )
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="{place}">▾ {html.escape(panel["title"])}</div>')
            continue
        inside = contents(panel, prometheus, chosen, (width, height))
        parts.append(
            f'<div class="panel" style="{place}"><h2>{html.escape(panel["title"])}</h2>{inside}</div>'
        )
    variables = " · ".join(
        f"{variable['label']}: {chosen[variable['name']]}" for variable in board["templating"]["list"]
    )
    return bottom, (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><h1>{html.escape(board["title"])}</h1>'
        f'<div class="variables">{html.escape(variables)}</div><div class="grid" style="height:{bottom}px">{"".join(parts)}</div>'
    )


def main():
    """Writes a page for each dashboard, and says how high it is."""
    url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    span = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    prometheus = grafana.Prometheus(url, span, step=max(1, span // 150), rate_interval="10s")
    for name, board in grafana.dashboards().items():
        agents = ("planner", "worker") if name == "agent" else ("planner",)
        for agent in agents:
            height, text = page(board, prometheus, {"agent": agent})
            file = folder / (f"{name}-{agent}.html" if len(agents) > 1 else f"{name}.html")
            file.write_text(text, encoding="utf-8")
            print(f"{file} {height + 90}")


if __name__ == "__main__":
    main()
