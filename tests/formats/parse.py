"""Parses a scrape of each format with the parsers of the package prometheus-client.

    parse.py TEXT OPENMETRICS
"""

import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text

NEEDED = ("node_cpu_seconds", "namedprocess_namegroup_num_procs", "agent_requests", "agent_request_duration_seconds")


def families(parse, path):
    """Names and types of all families; the parser raises on what is wrong."""
    with open(path, encoding="utf-8") as file:
        found = list(parse(file.read()))
    if not all(family.samples for family in found):
        raise SystemExit(f"{path}: a family without samples")
    return {family.name: family.type for family in found}


def main():
    """Parses both, and compares what they declare."""
    by_text = families(text.text_string_to_metric_families, sys.argv[1])
    by_openmetrics = families(openmetrics.text_string_to_metric_families, sys.argv[2])
    for name in NEEDED:
        if name not in by_text or name not in by_openmetrics:
            raise SystemExit(f"{name} is missing")
    print(f"text: {len(by_text)} families, OpenMetrics: {len(by_openmetrics)} families")
    for name in sorted(by_text.keys() | by_openmetrics.keys()):
        types = by_text.get(name), by_openmetrics.get(name)
        # OpenMetrics has no counter whose name does not end in _total.
        if types[0] != types[1] and types != ("counter", "unknown"):
            raise SystemExit(f"{name}: {types[0]} in text, {types[1]} in OpenMetrics")


if __name__ == "__main__":
    main()
