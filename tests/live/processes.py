"""What two exporters of process groups show of the same processes: `processes.py PID THEIRS OURS`, of a scene whose first
process is known by its pid. Everything that theirs shows must be in ours; while the scene is stopped, gauges must be the
same, and what counters have grown by since the first look."""

import os
import pathlib
import re
import signal
import sys
import time
import urllib.request

SAMPLE = re.compile(r"(namedprocess_namegroup_\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PATIENCE = 30
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
    return [process for process in processes if session(process) == pid]


def session(pid: int) -> int:
    """The session of a process; 0 for one that has ended."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def until(what: str, holds) -> None:
    """Waits until something holds, for as long as a slow machine may take."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not so: {what}")
        time.sleep(0.01)


def is_at_rest(pid: int) -> bool:
    """Whether all threads of a process have stopped: one that writes to a disk does so later."""
    tasks = [f"/proc/{pid}/task/{task}/stat" for task in os.listdir(f"/proc/{pid}/task")]
    return all(pathlib.Path(task).read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T" for task in tasks)


def at_rest(pid: int, urls: list[str]) -> list[dict]:
    """What both see while all of the scene is stopped."""
    scene = members(pid)
    for process in scene:
        os.kill(process, signal.SIGSTOP)
    until("the scene stands still", lambda: all(is_at_rest(process) for process in scene))
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
    until("the scene is set", lambda: len(members(pid)) == 4)
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
    groups, ours_too = ({dict(labels)["groupname"] for _, labels in seen} for seen in (theirs, ours))
    if ours_too != groups:
        faults.append(f"groups {groups} there, {ours_too} here")
    names = {dict(labels).get("threadname") for _, labels in theirs} - {None}
    if len(groups) != 2 or not {"pool", "flusher"} <= names:
        faults.append(f"the scene is not as it should be: groups {groups}, threads {names}")
    print("\n".join(faults) or f"{compared} values of {len(theirs)} series of process-exporter compared: the same")
    sys.exit(bool(faults))


main()
