"""Whether one exporter shows all that another one shows of the same machine.

    compare.py THEIR_URL OUR_URL

Compares families, types, and sets of labels; values differ from moment to moment. What is known to differ
is listed with its reason.
"""

import re
import sys
import urllib.request

# Families that later versions of node_exporter have dropped or renamed, or that say what is always so.
KNOWN = {
    "node_scrape_collector_duration_seconds": "of the exporter itself",
}
# Series that later versions leave out by default.
DROPPED = {("node_disk_", "device", re.compile(r"zram\d+")): "compressed memory is no disk since 1.6.0"}
# Labels whose values are of the moment, or of the exporter.
MOMENT = {
    "node_exporter_build_info": "versions of each",
    "node_scrape_collector_success": "collectors of each",
    "node_processes_state": "states of the moment",
    "node_processes_threads_state": "states of the moment",
    "node_tcp_connection_states": "states of the moment",
}
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def scrape(url):
    """Types by family, and label sets by the series' name."""
    types, series = {}, {}
    with urllib.request.urlopen(url, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                types[name] = kind
            elif match := SERIES.match(line):
                labels = frozenset(LABEL.findall(match[2] or ""))
                series.setdefault(match[1], set()).add(labels)
    return types, series


def is_dropped(name, labels):
    """Whether later versions of node_exporter leave a series out."""
    return any(
        name.startswith(prefix) and key == label and pattern.fullmatch(value)
        for prefix, label, pattern in DROPPED
        for key, value in labels
    )


def main():
    """Compares."""
    their_types, theirs = scrape(sys.argv[1])
    our_types, ours = scrape(sys.argv[2])
    faults = []
    for name, kind in their_types.items():
        if name in KNOWN or re.match("go_|process_|promhttp_", name):
            continue
        if name not in our_types:
            faults.append(f"{name}: missing")
        elif our_types[name] != kind:
            faults.append(f"{name}: {our_types[name]}, wanted {kind}")
    count = 0
    for name, sets in theirs.items():
        if name in KNOWN or name in MOMENT or re.match("go_|process_|promhttp_", name) or name not in ours:
            continue
        # A label that later versions have added does not make another series of it.
        count += len(sets)
        for labels in sets:
            if is_dropped(name, labels):
                continue
            if not any(labels <= own for own in ours[name]):
                shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels))
                faults.append(f"{name}: no series {{{shown}}}")
    for name, reason in KNOWN.items():
        if name in their_types:
            print(f"left out: {name}: {reason}")
    for (prefix, label, pattern), reason in DROPPED.items():
        print(f"left out: {prefix}*{{{label}=~{pattern.pattern}}}: {reason}")
    for fault in faults[:60]:
        print(f"FAILED: {fault}")
    print(f"{len(their_types)} families and {count} sets of labels of the other; {len(faults)} are not here")
    raise SystemExit(bool(faults))


main()
