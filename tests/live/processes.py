"""What two exporters of process groups show of the same processes: `processes.py PID THEIRS OURS`, of a scene whose first
process is known by its pid. Everything that theirs shows must be in ours; while the scene is stopped, gauges must be the
same, and what counters have grown by since the first look."""

import os
import re
import signal
import sys
import time
import urllib.request

SAMPLE = re.compile(r"(namedprocess_namegroup_\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Theirs counts the first of a process's several threads twice.
TWICE = {"namedprocess_namegroup_threads_wchan", "namedprocess_namegroup_states"}


def look(url: str) -> dict:
    """The samples of an exporter, by family and labels."""
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    found = [SAMPLE.fullmatch(line) for line in lines]
    return {
        (match[1], frozenset(LABEL.findall(match[2]))): float(match[3]) for match in found if match
    }


def members(pid: int) -> list[int]:
    """The scene's processes: all of the session that its first process leads."""
    processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in processes if stat(process)[1] == pid]


def stat(pid: int) -> tuple[str, int]:
    """State and session of a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[3])


def at_rest(pid: int, urls: list[str]) -> list[dict]:
    """What both see while all of the scene is stopped."""
    scene = members(pid)
    for process in scene:
        os.kill(process, signal.SIGSTOP)
    while any(stat(process)[0] != "T" for process in scene):
        time.sleep(0.01)
    time.sleep(0.2)
    seen = [look(url) for url in urls]
    for process in scene:
        os.kill(process, signal.SIGCONT)
    return seen


def value(family: str, seen: float) -> float:
    """As both can have it: theirs cuts seconds, and sums them up in floating point."""
    return float(int(seen)) if family.endswith("start_time_seconds") else round(seen, 6)


def main() -> None:
    """Looks twice, and compares."""
    pid, urls = int(sys.argv[1]), sys.argv[2:4]
    while len(members(pid)) < 4:
        time.sleep(0.1)
    time.sleep(0.5)
    first = at_rest(pid, urls)
    time.sleep(1)
    theirs, ours = at_rest(pid, urls)
    faults = [f"missing: {key}" for key in theirs if key not in ours]
    compared = 0
    for key in theirs.keys() & ours.keys():
        family = key[0]
        if family in TWICE:
            continue
        pair = theirs[key], ours[key]
        if family.endswith("_total"):
            pair = pair[0] - first[0].get(key, 0.0), pair[1] - first[1].get(key, 0.0)
        compared += 1
        if value(family, pair[0]) != value(family, pair[1]):
            faults.append(f"{family}{sorted(key[1])}: {pair[0]} there, {pair[1]} here")
    for (family, labels), threads in ours.items():
        if family.endswith("_num_threads"):
            states = [ours[key] for key in ours if key[0].endswith("_states") and labels <= key[1]]
            if sum(states) != threads:
                faults.append(f"{sorted(labels)}: {threads} threads, and in all states {sum(states)}")
    groups = {dict(labels)["groupname"] for _, labels in theirs}
    names = {dict(labels).get("threadname") for _, labels in theirs} - {None}
    if len(groups) != 2 or not {"pool", "flusher"} <= names:
        faults.append(f"the scene is not as it should be: groups {groups}, threads {names}")
    print("\n".join(faults) or f"{compared} values of {len(theirs)} series of process-exporter compared: the same")
    sys.exit(bool(faults))


main()
