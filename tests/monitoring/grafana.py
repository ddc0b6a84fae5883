"""Dashboards as Grafana would ask them: their panels, variables and queries, and Prometheus's answers.

Must not know what is in any dashboard, nor what is made of the answers.
"""

import json
import math
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDER = TOP / "monitoring" / "grafana" / "dashboards"
_LABEL_VALUES = re.compile(r"label_values\((.+),\s*(\w+)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")


class Refused(Exception):
    """Prometheus did not like a query; in its words."""


class Prometheus:
    """A Prometheus server, asked for the time from `span` seconds ago until now."""

    def __init__(self, url, span, step, rate_interval):
        self.url, self.span, self.step = url, span, step
        self.end = time.time()
        self.builtin = {"__rate_interval": rate_interval, "__interval": f"{step}s", "__range": f"{span}s"}

    def _get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error).get("error", str(error))) from error

    def now(self, expression):
        """Series with one point each."""
        series = self._get("/api/v1/query", query=expression, time=self.end)["result"]
        return [(entry["metric"], [_point(entry["value"])]) for entry in series]

    def over_time(self, expression):
        """Series with points in steps."""
        times = {"start": self.end - self.span, "end": self.end, "step": self.step}
        series = self._get("/api/v1/query_range", query=expression, **times)["result"]
        return [(entry["metric"], [_point(value) for value in entry["values"]]) for entry in series]

    def values(self, selector, label):
        """The values of a label among the series of a selector."""
        matching = {"match[]": selector, "start": self.end - self.span, "end": self.end}
        return self._get(f"/api/v1/label/{label}/values", **matching)

    def ask(self, target, chosen):
        """A panel's query, with the variables that are chosen, as Grafana would ask it."""
        expression = filled(target["expr"], {**self.builtin, **chosen})
        return self.now(expression) if target.get("instant") else self.over_time(expression)


def _point(pair):
    return float(pair[0]), float(pair[1])


def has_points(series):
    """Whether anything would be drawn."""
    return any(not math.isnan(value) for _, points in series for _, value in points)


def filled(text, values):
    """A text with its variables replaced; one that has no value is a KeyError."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def dashboards():
    """All of them, by the name of their file."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def panels(dashboard):
    """All panels that are not rows, those of collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def choose(dashboard, prometheus, preferred):
    """A value for each variable, as Grafana would choose them at first; `preferred` are taken where they can be.
    Gives the values, and the variables for which there is none to choose."""
    chosen, empty = {}, []
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "datasource":
            chosen[name] = name
            continue
        selector, label = _LABEL_VALUES.fullmatch(variable["query"]["query"]).groups()
        values = prometheus.values(filled(selector, chosen), label)
        if not values:
            empty.append(name)
        if variable["includeAll"]:
            chosen[name] = variable.get("allValue") or f"({'|'.join(values)})"
        else:
            chosen[name] = preferred.get(name) if preferred.get(name) in values else next(iter(values), "")
    return chosen, empty


def legend(target, labels):
    """What a series is called."""
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target.get("legendFormat", ""))
    return name or ", ".join(f"{label}={value}" for label, value in labels.items() if label != "__name__")


def color_of(thresholds, value):
    """The colour that a value has by thresholds."""
    color = "text"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return color
