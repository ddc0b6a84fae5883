"""Asks a Prometheus every query of every dashboard.

    dashboards.py URL

Ends with 1 if a query is refused or has no data that should have (may_be_empty.toml says which may not),
a variable has no value, a legend or a link names a label that the series do not have, or a link leads nowhere.
Looks again for a while before it finds fault: where a scrape came late, there is nothing for a moment.
"""

import json
import pathlib
import re
import sys
import time
import tomllib

import grafana

# Of nodes and agents, those that have most to show.
AGENTS = ("planner", "flaky")
PATIENCE = 90


def complaints_of_links(dashboard, boards):
    """Links to dashboards that are not there, or with variables that these do not have."""
    names = {
        board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
        for board in boards.values()
    }
    for url in re.findall(r'"url": "(/d/[^"]+)"', json.dumps(dashboard)):
        uid = url[len("/d/") :].split("?")[0]
        if uid not in names:
            yield f"a link to {uid}, which is no dashboard"
            continue
        carried = re.findall(r"\$\{(\w+):queryparam\}", url) + re.findall(r"&var-(\w+)=", url)
        for name in set(carried) - names[uid]:
            yield f"a link to {uid} carries the variable {name}, which that does not have"


def labels_named(panel, target):
    """Labels that a panel takes from the series of a query: in legends, columns and links."""
    named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
    named |= set(re.findall(r"__field\.labels\.(\w+)", json.dumps(panel["fieldConfig"])))
    for transformation in panel.get("transformations", ()):
        renamed = transformation["options"].get("renameByName", {})
        named |= {name for name in renamed if not name.startswith("Value")}
    return named


class Check:
    """One run over all dashboards."""

    def __init__(self, url, may_be_empty):
        self.prometheus = grafana.Prometheus(url, span=60, step=2, rate_interval="10s")
        self.may_be_empty = may_be_empty
        self.unused = {(board, title) for board, titles in may_be_empty.items() for title in titles}
        self.asked = self.empty = 0
        self.faults = []

    def board(self, name, board, boards):
        """All of one dashboard."""
        choices = []
        for agent in AGENTS:
            chosen, without = grafana.choose(board, self.prometheus, {"agent": agent})
            self.faults += [f"{name}: the variable {variable} has no values" for variable in without]
            if chosen not in choices:
                choices.append(chosen)
        self.faults += [f"{name}: {complaint}" for complaint in complaints_of_links(board, boards)]
        for panel in grafana.panels(board):
            if panel["datasource"]["type"] == "prometheus":
                for target in panel["targets"]:
                    self.target(name, panel, target, choices)

    def target(self, name, panel, target, choices):
        """One query, with each choice of variables; one of them must have data."""
        title, one = panel["title"], f"{panel['title']}: {target['legendFormat'] or target['refId']}"
        where, keys = f"{name}: {one}", {title, one}
        self.unused -= {(name, key) for key in keys}
        series = []
        for chosen in choices:
            self.asked += 1
            try:
                series += self.prometheus.ask(target, chosen)
            except grafana.Refused as error:
                self.faults.append(f"{where}: {error}")
                return
        if not grafana.has_points(series):
            self.empty += 1
            if not keys & self.may_be_empty.get(name, {}).keys():
                self.faults.append(f"{where}: no data: {target['expr']}")
            return
        others = {labels["job"] for labels, _ in series if labels.get("job", "musterd") != "musterd"}
        self.faults += [f"{where}: has series of the job {job}" for job in others]
        found = {label for labels, _ in series for label in labels}
        named = labels_named(panel, target)
        self.faults += [f"{where}: its series have no label {label}" for label in named - found]
        if panel["type"] == "table":
            self.faults += [
                f"{where}: no column for the label {label}" for label in found - named - {"__name__"}
            ]


def look(url, may_be_empty):
    """One run over all dashboards."""
    check = Check(url, may_be_empty)
    boards = grafana.dashboards()
    for name, board in boards.items():
        check.board(name, board, boards)
    check.faults += [
        f"may_be_empty.toml: {board} has no panel {title!r}" for board, title in sorted(check.unused)
    ]
    return check


def main():
    """Looks until nothing is wrong, or for as long as a slow machine may take."""
    with open(pathlib.Path(__file__).with_name("may_be_empty.toml"), "rb") as file:
        may_be_empty = tomllib.load(file)
    deadline = time.monotonic() + PATIENCE
    while (check := look(sys.argv[1], may_be_empty)).faults and time.monotonic() < deadline:
        time.sleep(2)
    print(f"{len(grafana.dashboards())} dashboards, {check.asked} queries asked, {check.empty} without data")
    for fault in check.faults:
        print(fault)
    sys.exit(1 if check.faults or not check.asked else 0)


if __name__ == "__main__":
    main()
