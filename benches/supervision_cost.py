#!/usr/bin/env python3
"""What two supervisors take to keep the same number of programs running, as ratios.

    supervision_cost.py NAME PID NAME PID [--programs 50] [--rounds 5] [--idle 10]

CPU time is that of the supervisor's process alone, by its CPU clock (clock_getcpuclockid(3)): in a time in which
nothing happens, and for each program that is killed (SIGKILL) and started again, all of them at once in each round.
The time to the start is the median of all, from the kill until a new process is there. Memory is what is resident at
the end.
"""

import argparse
import glob
import os
import signal
import statistics
import time

PATIENCE = 60


class Supervisor:
    """A supervisor, by its process."""

    def __init__(self, name, pid, programs):
        self.name, self.pid, self.programs = name, pid, programs
        self.idle, self.each, self.waits = 0.0, [], []

    def children(self):
        """Its programs that run, by pid, whichever of its threads has started them."""
        found = set()
        for children in glob.glob(f"/proc/{self.pid}/task/*/children"):
            try:
                with open(children, encoding="ascii") as pids:
                    found.update(map(int, pids.read().split()))
            except OSError:
                pass  # The thread has ended.
        return found

    def cpu_ms(self):
        """CPU time used so far; the kernel's clock id of a process is made of its pid."""
        return time.clock_gettime_ns(~self.pid << 3 | 2) / 1e6

    def until_up(self, gone=frozenset()):
        """Waits until all run anew; gives when each was there."""
        deadline, there = time.monotonic() + PATIENCE, {}
        while True:
            now = time.monotonic()
            fresh = self.children() - gone
            there.update((pid, now) for pid in fresh - there.keys())
            if len(fresh) == self.programs:
                return list(there.values())
            if now > deadline:
                raise SystemExit(f"{self.name}: {len(fresh)} of {self.programs} programs run after {PATIENCE} s")
            time.sleep(0.001)

    def measure_idle(self, seconds):
        """CPU time of a second in which nothing happens."""
        before = self.cpu_ms()
        time.sleep(seconds)
        self.idle = (self.cpu_ms() - before) / seconds

    def measure_kills(self):
        """One round: all of them are killed and come back."""
        before, victims, began = self.cpu_ms(), self.children(), time.monotonic()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        self.waits += [then - began for then in self.until_up(victims)]
        # What it does after the last start, such as noting it, is of the round too.
        time.sleep(1.5)
        self.each.append((self.cpu_ms() - before) / self.programs)

    def resident_kib(self):
        """Resident memory now."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def report(self):
        """A line of figures."""
        print(
            f"{self.name}: {self.idle:.3f} ms of CPU a second at rest, {statistics.median(self.each):.3f} ms a restart,"
            f" {statistics.median(self.waits) * 1000:.0f} ms from a kill to the start, {self.resident_kib()} KiB resident"
        )


def main():
    """Reads the arguments, measures, reports."""
    parser = argparse.ArgumentParser()
    parser.add_argument("which", nargs=4)
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=10)
    given = parser.parse_args()
    names, pids = given.which[::2], given.which[1::2]
    both = [Supervisor(name, int(pid), given.programs) for name, pid in zip(names, pids)]
    for one in both:
        one.until_up()
    time.sleep(1)
    for one in both:
        one.measure_idle(given.idle)
    for _ in range(given.rounds):
        for one in both:
            one.measure_kills()
    for one in both:
        one.report()
    first, second = both
    ratios = {
        "CPU at rest": (first.idle, second.idle),
        "CPU a restart": (statistics.median(first.each), statistics.median(second.each)),
        "resident memory": (first.resident_kib(), second.resident_kib()),
    }
    for what, (ours, theirs) in ratios.items():
        print(f"{what}, {first.name} to {second.name}: {ours / theirs:.3f} (1/{theirs / ours:.1f})")


main()
