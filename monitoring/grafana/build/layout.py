"""A dashboard around its panels: rows, variables, the grid. Must not know what any dashboard shows."""

from queries import METRICS, expand

SCHEMA_VERSION = 41  # of the JSON model; later Grafanas migrate it when they load it
WIDTH = 24  # columns of Grafana's grid


def row(title, *panels, collapsed=False):
    """A row: the question that its panels answer."""
    return {"type": "row", "title": title, "collapsed": collapsed, "panels": list(panels)}


def datasource(name="datasource", kind="prometheus", label="Data source"):
    """A variable that chooses among datasources of a kind."""
    return {
        "name": name,
        "label": label,
        "type": "datasource",
        "query": kind,
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
    }


def choice(name, label, query, *, several=False, every=".*"):
    """A variable with the values of a label. `every` is what stands for all of them; None: their list."""
    variable = {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": METRICS,
        "query": {"query": expand(query), "refId": name},
        "refresh": 2,  # when the time range changes: what is gone by now may be what one looks for
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "hide": 0,
    }
    if several:
        variable["current"] = {"text": ["All"], "value": ["$__all"]}
        if every:
            variable["allValue"] = every
    return variable


# Not ".*": Prometheus has other jobs.
JOB = choice("job", "Job", "label_values(musterd_build_info, job)", several=True, every=None)
NODES = choice("instance", "Node", 'label_values(musterd_build_info{job=~"$job"}, instance)', several=True)
NODE = choice("instance", "Node", 'label_values(musterd_build_info{job=~"$job"}, instance)')
AGENTS = choice("agent", "Agent", "label_values(agent_up{@nodes}, agent)", several=True)
AGENT = choice("agent", "Agent", "label_values(agent_up{@node}, agent)")


def dashboard(uid, title, about, variables, *rows, time="now-3h"):
    """A whole dashboard: places the panels of each row from left to right, and numbers them."""
    placed, y, number = [], 0, 0
    for line in rows:
        number += 1
        head = {**line, "id": number, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
        placed.append(head)
        y += 1
        x = height = 0
        for panel in line["panels"]:
            number += 1
            size = panel["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, height = 0, y + height, 0
            into = head["panels"] if line["collapsed"] else placed
            into.append({"id": number, **panel, "gridPos": {**size, "x": x, "y": y}})
            x, height = x + size["w"], max(height, size["h"])
        y += height
    others = {
        "title": "musterd",
        "type": "dashboards",
        "tags": ["musterd"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "The other dashboards, for the same time and nodes",
        "url": "",
    }
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["musterd"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair over all panels
        "timezone": "browser",
        "time": {"from": time, "to": "now"},
        "refresh": "30s",
        "links": [others],
        "templating": {"list": variables},
        "annotations": {"list": []},
        "panels": placed,
    }
