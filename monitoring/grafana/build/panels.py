"""The kinds of panels, as Grafana's JSON model has them. Must not know what any of them shows."""

from looks import absolute, plain
from queries import LOGS, METRICS, target


def _panel(
    kind, title, about, size, *, targets, options, defaults, overrides=(), source=METRICS, transformations=()
):
    width, height = size
    panel = {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": source,
        "gridPos": {"x": 0, "y": 0, "w": width, "h": height},
        "targets": targets,
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
    }
    if transformations:
        panel["transformations"] = list(transformations)
    return panel


def _color(name, color):
    return {"matcher": {"id": "byName", "options": name}, "properties": [_fixed(color)]}


def _fixed(color):
    return {"id": "color", "value": {"mode": "fixed", "fixedColor": color}}


def stat(
    title,
    about,
    expression,
    unit="short",
    steps=None,
    *,
    decimals=None,
    mappings=(),
    link=None,
    legend="",
    width=4,
):
    """One number. With a legend, its text instead of the number."""
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": absolute(steps or plain()),
        "mappings": list(mappings),
        "noValue": "–",
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    if link:
        defaults["links"] = [link]
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "name" if legend else "value",
        "wideLayout": True,
    }
    query = target(0, expression, legend, instant=True, range=False)
    return _panel("stat", title, about, (width, 4), targets=[query], options=options, defaults=defaults)


def series(
    title,
    about,
    queries,
    unit="short",
    *,
    steps=None,
    stack=False,
    low=0,
    high=None,
    colors=None,
    mirrored=(),
    nothing=None,
    link=None,
    width=12,
    height=8,
):
    """Lines over time. `queries`: legend to expression. `mirrored`: legends drawn below zero, as a regular expression.
    With `steps`, the thresholds are drawn as lines. Where there is room, the legend is a table beside the lines.
    `nothing`: what no data means, in words."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if stack else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    defaults = {"unit": unit, "color": {"mode": "palette-classic"}, "custom": custom}
    if not mirrored and low is not None:
        defaults["min"] = low
    if high is not None:
        defaults["max"] = high
    if nothing:
        defaults["noValue"] = nothing
    if steps:
        defaults["thresholds"] = absolute([{**steps[0], "color": "transparent"}, *steps[1:]])
    if link:
        defaults["links"] = [link]
    overrides = [_color(name, color) for name, color in (colors or {}).items()]
    if mirrored:
        below_zero = [{"id": "custom.transform", "value": "negative-Y"}]
        overrides.append({"matcher": {"id": "byRegexp", "options": mirrored}, "properties": below_zero})
    legend = {"showLegend": True, "placement": "bottom", "displayMode": "list", "calcs": []}
    if width >= 12:
        legend.update(
            placement="right",
            displayMode="table",
            calcs=["max", "lastNotNull"],
            sortBy="Last *",
            sortDesc=True,
        )
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    targets = [target(number, query, name) for number, (name, query) in enumerate(queries.items())]
    return _panel(
        "timeseries",
        title,
        about,
        (width, height),
        targets=targets,
        options=options,
        defaults=defaults,
        overrides=overrides,
    )


def timeline(title, about, expression, legend, mappings, *, nothing=None, link=None, width=24, height=8):
    """States over time: a bar for each series."""
    defaults = {
        "color": {"mode": "thresholds"},
        "thresholds": absolute(plain()),
        "mappings": mappings,
        "custom": {"lineWidth": 0, "fillOpacity": 80},
    }
    if nothing:
        defaults["noValue"] = nothing
    if link:
        defaults["links"] = [link]
    options = {
        "alignValue": "left",
        "mergeValues": True,
        "perPage": 20,
        "rowHeight": 0.85,
        "showValue": "auto",
        "legend": {"showLegend": False, "placement": "bottom", "displayMode": "list", "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    targets = [target(0, expression, legend)]
    return _panel(
        "state-timeline", title, about, (width, height), targets=targets, options=options, defaults=defaults
    )


def heatmap(title, about, expression, unit="s", *, width=12, height=8):
    """A histogram over time; the expression gives the rates of its buckets by `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "exponent": 0.5,
            "steps": 32,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"unit": unit, "axisPlacement": "left"},
    }
    targets = [target(0, expression, "{{le}}", format="heatmap")]
    return _panel("heatmap", title, about, (width, height), targets=targets, options=options, defaults={})


def column(title, expression, unit="short", steps=None, *, mappings=(), decimals=None, bar=False, width=None):
    """A column of a table: one value for each row."""
    return {
        "title": title,
        "expression": expression,
        "unit": unit,
        "steps": steps,
        "mappings": list(mappings),
        "decimals": decimals,
        "bar": bar,
        "width": width,
    }


def table(title, about, keys, columns, *, nothing=None, links=None, sort=None, width=24, height=8):
    """Rows that are told apart by the labels `keys` (label to title), with the columns' values.
    `links`: label to links. `sort`: title of a column, highest first."""
    targets, renames, overrides = [], dict(keys), []
    for number, entry in enumerate(columns):
        query = target(number, entry["expression"], format="table", instant=True, range=False)
        targets.append(query)
        # A table with a single query has a field "Value".
        value = "Value" if len(columns) == 1 else f"Value #{query['refId']}"
        renames[value] = entry["title"]
        properties = [{"id": "unit", "value": entry["unit"]}]
        if entry["decimals"] is not None:
            properties.append({"id": "decimals", "value": entry["decimals"]})
        if entry["width"] is not None:
            properties.append({"id": "custom.width", "value": entry["width"]})
        if entry["mappings"]:
            properties.append({"id": "mappings", "value": entry["mappings"]})
        if entry["steps"]:
            properties.append({"id": "thresholds", "value": absolute(entry["steps"])})
        if entry["bar"]:
            properties += [
                {"id": "custom.cellOptions", "value": {"type": "gauge", "mode": "basic"}},
                {"id": "min", "value": 0},
                {"id": "max", "value": 1},
            ]
        elif entry["steps"] or entry["mappings"]:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        overrides.append({"matcher": {"id": "byName", "options": entry["title"]}, "properties": properties})
    for label, to in (links or {}).items():
        properties = [{"id": "links", "value": to}]
        overrides.append({"matcher": {"id": "byName", "options": keys[label]}, "properties": properties})
    order = {name: number for number, name in enumerate(renames)}
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renames},
        },
    ]
    defaults = {
        "color": {"mode": "thresholds"},
        "thresholds": absolute(plain()),
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True},
    }
    if nothing:
        defaults["noValue"] = nothing
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "frameIndex": 0,
        "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
    }
    return _panel(
        "table",
        title,
        about,
        (width, height),
        targets=targets,
        options=options,
        defaults=defaults,
        overrides=overrides,
        transformations=transformations,
    )


def logs(title, about, selector, *, width=24, height=10):
    """Lines of the journal, from Loki."""
    options = {
        "dedupStrategy": "none",
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "showCommonLabels": False,
        "showLabels": False,
        "showLogContextToggle": True,
        "showTime": True,
        "sortOrder": "Descending",
        "wrapLogMessage": True,
    }
    query = {"refId": "A", "datasource": LOGS, "expr": selector, "queryType": "range"}
    return _panel(
        "logs", title, about, (width, height), targets=[query], options=options, defaults={}, source=LOGS
    )
