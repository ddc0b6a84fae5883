"""What one request costs the program that reports it, with a ledger mapped from a daemon.

    python3 clients/python/benches/request_cost.py            # CPU time of one request, best of many runs
    python3 clients/python/benches/request_cost.py --strace   # and: system calls of 100,000 requests

The loop and, for `track`, the call of an empty function are part of the figures.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Callable, Dict

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from musterd import Agent  # noqa: E402
from tests.daemon import FakeDaemon, wait_until  # noqa: E402

RUNS, REQUESTS = 40, 20000


def with_request(agent: Agent, count: int) -> None:
    for _ in range(count):
        with agent.request():
            pass


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
    "@agent.track": with_track,
    "agent.record()": with_record,
}


def nanoseconds(way: Callable[[Agent, int], None], agent: Agent) -> float:
    best = float("inf")
    for _ in range(RUNS):
        begin = time.thread_time_ns()
        way(agent, REQUESTS)
        best = min(best, (time.thread_time_ns() - begin) / REQUESTS)
    return best


def measure() -> None:
    with FakeDaemon() as daemon, Agent("bench", daemon.path) as agent:
        wait_until(lambda: agent.connected)
        print(sys.version.split()[0], sys.executable)
        for name, way in WAYS.items():
            print(f"{name:24} {nanoseconds(way, agent):6.0f} ns")


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
