"""What one request costs the program that reports it, with a ledger mapped from a daemon.

    python3 clients/python/benches/request_cost.py            # CPU time of one request
    python3 clients/python/benches/request_cost.py --strace   # and: system calls of 100,000 requests

The figures are the least and the median of many short runs, all ways in turn, so that what else the
machine does meets all of them. The loop and, for `track`, the call of an empty function are part of them.

If prometheus_client is installed, it counts the same in its multi-process mode, whose counts survive the
process as a ledger's do: a counter by status and a histogram of durations. It has no requests in flight.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, List

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from musterd import Agent, layout  # noqa: E402
from tests.daemon import FakeDaemon, wait_until  # noqa: E402

RUNS, REQUESTS = 200, 2000


def with_request(agent: Agent, count: int) -> None:
    for _ in range(count):
        with agent.request():
            pass


def begin_and_end(agent: Agent, count: int) -> None:
    for _ in range(count):
        request = agent.request().begin()
        request.end()


def with_track(agent: Agent, count: int) -> None:
    @agent.track
    def work() -> None:
        pass

    for _ in range(count):
        work()


def with_record(agent: Agent, count: int) -> None:
    for _ in range(count):
        agent.record("success", 0.012)


WAYS: Dict[str, Callable[[Agent, int], None]] = {
    "with agent.request()": with_request,
    "request().begin(), end()": begin_and_end,
    "@agent.track": with_track,
    "agent.record()": with_record,
}


def prometheus(directory: str) -> Dict[str, Callable[[Agent, int], None]]:
    """The same with prometheus_client: as its documentation has it, and with labels looked up beforehand."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # before the import
    try:
        from prometheus_client import Counter, Histogram
    except ImportError:
        return {}
    requests = Counter("requests_total", "Finished requests.", ["status"])
    durations = Histogram("request_duration_seconds", "Durations.", buckets=layout.DURATION_BOUNDS)
    success = requests.labels("success")

    def as_documented(_: Agent, count: int) -> None:
        for _ in range(count):
            with durations.time():
                pass
            requests.labels("success").inc()

    def least(_: Agent, count: int) -> None:
        for _ in range(count):
            begun = time.perf_counter()
            durations.observe(time.perf_counter() - begun)
            success.inc()

    return {"prometheus_client": as_documented, "prometheus_client, least": least}


def measure() -> None:
    print(sys.version.split()[0], sys.executable)
    with FakeDaemon() as daemon, Agent("bench", daemon.path) as agent:
        wait_until(lambda: agent.connected)
        with tempfile.TemporaryDirectory() as directory:
            report({**WAYS, **prometheus(directory)}, agent)


def report(ways: Dict[str, Callable[[Agent, int], None]], agent: Agent) -> None:
    runs: Dict[str, List[float]] = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            begin = time.thread_time_ns()
            way(agent, REQUESTS)
            runs[name].append((time.thread_time_ns() - begin) / REQUESTS)
    for name, costs in runs.items():
        print(f"{name:26} {min(costs):6.0f} ns (median {statistics.median(costs):.0f})")
    for name in ways.keys() - WAYS.keys():
        ratio = min(runs["with agent.request()"]) / min(runs[name])
        print(f"with agent.request() against {name}: {ratio:.2f}")
    if ways.keys() == WAYS.keys():
        print("prometheus_client is not installed: nothing to compare with")


def traced() -> None:
    """Stop before and after the requests, so that a tracer may count the calls in between."""
    with FakeDaemon() as daemon, Agent("bench", daemon.path) as agent:
        wait_until(lambda: agent.connected)
        with_request(agent, 1000)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.getppid()
        for way in WAYS.values():
            way(agent, 100000)
        os.getppid()


def count_system_calls() -> None:
    child = subprocess.Popen([sys.executable, __file__, "--traced"])
    os.waitpid(child.pid, os.WUNTRACED)
    tracer = subprocess.Popen(["strace", "-f", "-p", str(child.pid)], stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    child.send_signal(signal.SIGCONT)
    lines = [line for line in tracer.communicate()[1].splitlines() if "resumed>" not in line]
    child.wait()
    first, last = (i for i, line in enumerate(lines) if "getppid(" in line)
    calls = lines[first + 1 : last]
    print(f"system calls in {len(WAYS)} x 100,000 requests: {len(calls)}")
    for line in calls[:20]:
        print("   ", line)


if __name__ == "__main__":
    if "--traced" in sys.argv:
        traced()
    else:
        measure()
        if "--strace" in sys.argv:
            if shutil.which("strace"):
                count_system_calls()
            else:
                print("strace is not installed")
