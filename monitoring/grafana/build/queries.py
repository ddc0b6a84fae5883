"""Queries of Prometheus, and what stands for what in them.

In expressions, `@nodes` stands for the nodes that are chosen, `@node` for the one, `@agents` and `@agent` likewise.
"""

import re

from looks import STATES

METRICS = {"type": "prometheus", "uid": "${datasource}"}
LOGS = {"type": "loki", "uid": "${logs}"}

_NODES = 'job=~"$job",instance=~"$instance"'
_NODE = 'job=~"$job",instance="$instance"'
SELECTORS = {
    "nodes": _NODES,
    "node": _NODE,
    "agents": _NODES + ',agent=~"$agent"',
    "agent": _NODE + ',agent="$agent"',
}

# Requests that went wrong, and those that say how an agent does.
FAILED = 'status=~"error|timeout|aborted"'
JUDGED = 'status!="cancelled"'
# What is kept in memory fills with what the kernel and services put there.
ON_DISK = 'fstype!~"tmpfs|ramfs"'
# What is 0 now and has been 1: a machine lacks what many collectors look for, and these say 0 for ever.
COLLECTORS_FAILING = """(node_scrape_collector_success{@nodes} == 0)
    and (max_over_time(node_scrape_collector_success{@nodes}[1d]) == 1)"""


def expand(expression):
    """An expression with its selectors filled in, on one line."""
    expression = re.sub(r"@(nodes|node|agents|agent)\b", lambda found: SELECTORS[found[1]], expression)
    return " ".join(expression.split())


def target(number, expression, legend="", **more):
    """A query of a panel: the first, second, and so on."""
    ref = chr(ord("A") + number)
    return {"refId": ref, "datasource": METRICS, "expr": expand(expression), "legendFormat": legend, **more}


def state(selector, by):
    """The state of agents as a number of STATES."""
    each = (
        f'agent_health_status{{{selector},state="{word}"}} * {number}'
        for number, (word, _) in enumerate(STATES)
    )
    return f"max by ({by}) ({' or '.join(each)})"


def added(counter, window):
    """How much a counter that is there only once it has counted has grown: increase() would not see the first.
    A restart of the daemon within the window hides what was before it."""
    return f"clamp_min({counter} - ({counter} offset {window} or {counter} * 0), 0)"


def busiest(now, whole, by):
    """The ten series that are highest over the whole time that is shown, so that the same ten are drawn throughout.
    `whole` is `now` with its average over `[$__range] @ end()`."""
    return f"({now}) and on ({by}) topk(10, {whole})"
