"""Counts that must be exact: threads, forks, signals, and death at any point."""

import itertools
import mmap
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import unittest
import warnings
from typing import Callable
from unittest import mock

import musterd.ledger
import musterd.request
import musterd.shared
from musterd import Agent, MetricsEnabledBaseAgent

from . import reader
from .daemon import FakeDaemon, wait_until

KILLS = 150
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)


def fork(child: Callable[[], None]) -> int:
    """Run `child` in a forked process, which exits 0 unless it raises."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    return pid


def totals(data: bytes) -> "tuple[int, int, int]":
    """Requests by status, and by each kind of bucket."""
    durations = reader.durations(data)
    statuses = sum(reader.counters(data, "agent_requests_total").values())
    return statuses, durations.zero + sum(durations.native), sum(durations.classic)


class Marks:
    """What a child says that it is about to do and has done, in memory that survives it."""

    KINDS = ("success", "error", "recorded", "tokens")

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 4096)).cast("Q")

    def about(self, kind: int) -> None:
        self._words[2 * kind] += 1

    def done(self, kind: int) -> None:
        self._words[2 * kind + 1] += 1

    def read(self, kind: str) -> "tuple[int, int]":
        at = 2 * self.KINDS.index(kind)
        return self._words[at], self._words[at + 1]


def count_for_ever(agent: Agent, marks: Marks) -> None:
    """Every request takes exactly one second by a clock of its own, so that the sum can be checked."""
    now = iter(range(10**9, 10**18, 10**9))
    with mock.patch.object(musterd.request, "monotonic_ns", lambda: next(now)):
        while True:
            for _ in range(8):
                marks.about(0)
                with agent.request():
                    pass
                marks.done(0)
            marks.about(1)
            try:
                with agent.request():
                    raise ConnectionError
            except ConnectionError:
                marks.done(1)
            marks.about(2)
            agent.record("timeout", 1.0)
            marks.done(2)
            marks.about(3)
            agent.tokens("small", input=2, output=3)
            marks.done(3)


class Death(unittest.TestCase):
    def test_kill_at_any_point(self) -> None:
        chance = random.Random(7)
        unfinished = 0
        with FakeDaemon() as daemon:
            for _ in range(KILLS):
                marks = Marks()
                ledgers = len(daemon.ledgers)

                def child() -> None:
                    agent = Agent("mortal", daemon.path)
                    while not agent.connected:
                        time.sleep(0.001)
                    count_for_ever(agent, marks)

                pid = fork(child)
                wait_until(lambda: len(daemon.ledgers) > ledgers and marks.read("success")[0])
                time.sleep(chance.random() * 0.004)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                data = bytearray(daemon.data(ledgers))
                unfinished += reader.apply_journal(data) > 0
                self.check(bytes(data), marks)
        self.assertGreater(unfinished, 0, "no kill has hit an update")

    def check(self, data: bytes, marks: Marks) -> None:
        requests = reader.counters(data, "agent_requests_total")
        errors = reader.counters(data, "agent_errors_total")
        tokens = reader.counters(data, "agent_tokens_total")
        counted = {
            "success": requests.get("success", 0),
            "error": requests.get("error", 0),
            "recorded": requests.get("timeout", 0),
            "tokens": tokens.get("small,input", 0) // 2,
        }
        undecided = 0
        for kind, count in counted.items():
            about, done = marks.read(kind)
            self.assertIn(count, {done, about}, kind)
            undecided += about - done
        self.assertLessEqual(undecided, 1)
        self.assertEqual(errors.get("network", 0), counted["error"])
        self.assertEqual(errors.get("timeout", 0), counted["recorded"])
        self.assertEqual(tokens.get("small,output", 0), 3 * counted["tokens"])
        ended = counted["success"] + counted["error"] + counted["recorded"]
        self.assertEqual(totals(data), (ended, ended, ended))
        self.assertEqual(reader.durations(data).sum, ended)
        begun = marks.read("success")[0] + marks.read("error")[0]
        missing = begun - counted["success"] - counted["error"]
        self.assertLessEqual(reader.in_flight(data), missing)


class Threads(unittest.TestCase):
    def test_many_threads_while_the_daemon_comes_and_goes(self) -> None:
        count, threads = 4000, 8
        with FakeDaemon() as daemon:
            daemon.stop()
            with Agent("busy", daemon.path) as agent:

                def work(number: int) -> None:
                    for i in range(count):
                        try:
                            with agent.request():
                                if i % 10 == 0:
                                    raise ValueError
                        except ValueError:
                            pass
                        if i % 7 == 0:
                            agent.tokens("small", input=1)

                workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
                for worker in workers:
                    worker.start()
                daemon.start()
                for _ in range(3):
                    wait_until(lambda: agent.connected)
                    daemon.stop()
                    daemon.start()
                for worker in workers:
                    worker.join()
                wait_until(lambda: agent.connected)
                data = daemon.data()
                self.assertEqual(len(daemon.ledgers), 1)
                expected = {"success": count * threads * 9 // 10, "error": count * threads // 10}
                self.assertEqual(reader.counters(data, "agent_requests_total"), expected)
                self.assertEqual(totals(data), (count * threads,) * 3)
                tokens = reader.counters(data, "agent_tokens_total")
                self.assertEqual(tokens, {"small,input": threads * len(range(0, count, 7))})
                self.assertEqual(reader.in_flight(data), 0)
                self.assertEqual(len(agent.ledger.free), 128)

    def test_many_threads_while_the_resolution_changes(self) -> None:
        """Whoever counts by the words of one resolution in a record of another spoils what it finds there."""
        rounds, threads, swaps = 1500, 4, 0
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        begin = time.monotonic()
        with Agent("swapped", "/nonexistent/agent.sock") as agent:

            def work() -> None:
                for _ in range(rounds):
                    with agent.request():
                        agent.record("success", 0.5)
                    agent.record("cancelled", 8.0)

            workers = [threading.Thread(target=work) for _ in range(threads)]
            for worker in workers:
                worker.start()
            while any(worker.is_alive() for worker in workers):
                memory = musterd.ledger.Memory()
                agent.ledger.adopt(memory, swaps % 6)
                wait_until(lambda: agent.ledger.memory is memory)
                swaps += 1
            for worker in workers:
                worker.join()
            data = bytes(agent.ledger.memory.data)
            count = rounds * threads
            self.assertGreater(swaps, 6)
            self.assertEqual(reader.apply_journal(bytearray(data)), 0)
            requests = reader.counters(data, "agent_requests_total")
            self.assertEqual(requests, {"success": 2 * count, "cancelled": count})
            self.assertEqual(totals(data), (3 * count,) * 3)
            self.assertEqual(reader.in_flight(data), 0)
            self.assertEqual(len(agent.ledger.free), 128)
            most = 8.5 * count + threads * (time.monotonic() - begin)
            self.assertTrue(8.5 * count <= reader.durations(data).sum < most)


class Signals(unittest.TestCase):
    """Handlers run between any two steps of an update."""

    def setUp(self) -> None:
        self.daemon = FakeDaemon()
        self.agent = Agent("interrupted", self.daemon.path)
        wait_until(lambda: self.agent.connected)

    def tearDown(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.agent.close()
        self.daemon.close()

    def test_handler_that_reports(self) -> None:
        calls = itertools.count()

        def handler(*_: object) -> None:
            next(calls)  # one step: this handler may interrupt itself
            with self.agent.request():
                pass

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for _ in range(50000):
            with self.agent.request():
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        handled = next(calls)
        self.assertGreater(handled, 10)
        self.assertEqual(totals(self.daemon.data()), (50000 + handled,) * 3)
        self.assertEqual(reader.in_flight(self.daemon.data()), 0)

    def test_handler_that_raises_leaves_no_half_update(self) -> None:
        class Interrupt(Exception):
            pass

        def handler(*_: object) -> None:
            raise Interrupt

        signal.signal(signal.SIGALRM, handler)
        for i in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + i * 1e-7)
                while True:
                    with self.agent.request():
                        pass
            except Interrupt:
                pass
            data = bytearray(self.daemon.data())
            self.assertEqual(reader.apply_journal(data), 0)
            statuses, native, classic = totals(data)
            self.assertEqual((native, classic), (statuses, statuses))
        if sys.version_info < (3, 10):
            return  # the turn may have been lost, see `musterd.ledger`
        # With what was in the journal: the next update applies it.
        before = statuses
        for _ in range(300):
            with self.agent.request():
                pass
        self.assertEqual(totals(self.daemon.data())[0], before + 300)

    def test_lost_turn_is_taken_again(self) -> None:
        with mock.patch.object(musterd.ledger, "QUEUE_STUCK", 200):
            del self.agent.ledger.turn
            for _ in range(500):
                with self.agent.request():
                    pass
        self.assertEqual(totals(self.daemon.data()), (500,) * 3)


class Forks(unittest.TestCase):
    def test_child_has_a_ledger_of_its_own(self) -> None:
        with FakeDaemon() as daemon, Agent("parent", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            with agent.request():
                pass

            def child() -> None:
                assert agent.ledger.total(("agent_requests_total", (("status", "success"),))) == 0
                assert threading.active_count() == 1
                for _ in range(5):
                    with agent.request():
                        pass
                wait_until(lambda: agent.connected)
                agent.tokens("small", input=1)
                agent.close()

            with agent.request():
                pid = fork(child)
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertEqual(len(daemon.ledgers), 2)
            self.assertEqual(reader.counters(daemon.data(0), "agent_requests_total"), {"success": 2})
            self.assertEqual(reader.counters(daemon.data(0), "agent_tokens_total"), {})
            self.assertEqual(reader.counters(daemon.data(1), "agent_requests_total"), {"success": 5})
            self.assertEqual(reader.word(daemon.data(0), 144), 0)
            self.assertTrue(agent.connected)

    def test_child_that_reports_nothing_connects_to_nothing(self) -> None:
        with FakeDaemon() as daemon, Agent("parent", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            with agent.request() as request:

                def child() -> None:
                    request.__exit__(None, None, None)  # the request is the parent's
                    agent.close()

                pid = fork(child)
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
                self.assertEqual(reader.in_flight(daemon.data()), 1)
            self.assertEqual(totals(daemon.data())[0], 1)
            self.assertEqual((len(daemon.ledgers), len(daemon.peers)), (1, 1))
            self.assertTrue(agent.connected)

    def test_fork_while_another_thread_writes(self) -> None:
        with FakeDaemon() as daemon, Agent("parent", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            del agent.ledger.turn  # as a thread has it that the child will not have

            def child() -> None:
                for _ in range(5):
                    with agent.request():
                        pass
                assert agent.ledger.total(("agent_requests_total", (("status", "success"),))) == 5
                agent.close()

            self.assertEqual(os.waitpid(fork(child), 0)[1], 0)
            agent.ledger.turn = None
            with agent.request():
                pass
            self.assertEqual(reader.counters(daemon.data(0), "agent_requests_total"), {"success": 1})

    def test_child_shares_an_agent_among_objects_of_one_name(self) -> None:
        with FakeDaemon() as daemon:
            first = MetricsEnabledBaseAgent("crew", socket=daemon.path)
            wait_until(lambda: first.agent.connected)

            def child() -> None:
                second = MetricsEnabledBaseAgent("crew", socket=daemon.path)
                assert second.agent is first.agent
                for member in (first, second):
                    with member.agent.request():
                        pass
                    wait_until(lambda: first.agent.connected)
                    member.close()

            held, done = threading.Event(), threading.Event()

            def hold() -> None:  # as a thread does that the child will not have
                with musterd.shared._lock:
                    held.set()
                    done.wait()

            holder = threading.Thread(target=hold)
            holder.start()
            held.wait()
            pid = fork(child)
            done.set()
            holder.join()
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertEqual(reader.counters(daemon.data(1), "agent_requests_total"), {"success": 2})
            self.assertEqual([reader.word(daemon.data(i), 144) for i in range(2)], [0, 1])
            self.assertEqual(len(daemon.ledgers), 2)
            first.close()

    def test_multiprocessing(self) -> None:
        with FakeDaemon() as daemon, Agent("parent", daemon.path) as agent:
            wait_until(lambda: agent.connected)

            def work(count: int) -> None:
                for _ in range(count):
                    with agent.request():
                        pass
                agent.close()  # what multiprocessing ends with runs no exit handlers

            context = multiprocessing.get_context("fork")
            workers = [context.Process(target=work, args=(100 + n,)) for n in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            self.assertEqual([worker.exitcode for worker in workers], [0, 0, 0])
            counts = [reader.counters(daemon.data(i), "agent_requests_total") for i in range(4)]
            self.assertEqual(counts[0], {})
            self.assertEqual(sorted(count["success"] for count in counts[1:]), [100, 101, 102])

    def test_fork_while_other_threads_count(self) -> None:
        with FakeDaemon() as daemon, Agent("parent", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            stop = threading.Event()
            counts = [0, 0]

            def work(number: int) -> None:
                while not stop.is_set():
                    with agent.request():
                        pass
                    counts[number] += 1

            workers = [threading.Thread(target=work, args=(n,)) for n in range(2)]
            for worker in workers:
                worker.start()

            def child() -> None:
                for _ in range(200):
                    with agent.request():
                        pass
                assert agent.ledger.total(("agent_requests_total", (("status", "success"),))) == 200
                agent.close()

            pids = [fork(child) for _ in range(10)]
            results = [os.waitpid(pid, 0)[1] for pid in pids]
            stop.set()
            for worker in workers:
                worker.join()
            self.assertEqual(results, [0] * 10)
            self.assertEqual(totals(daemon.data(0)), (sum(counts),) * 3)


if __name__ == "__main__":
    unittest.main()
