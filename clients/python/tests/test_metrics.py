"""Metrics of an agent's own, and ledgers that are full."""

import math
import os
import struct
import threading
import time
import unittest
from bisect import bisect_left
from fractions import Fraction
from typing import Any, Dict, List
from unittest import mock

from musterd import Agent, metrics

from . import reader
from .daemon import FakeDaemon, Mute, Peer, wait_until
from .test_consistency import fork


def value(record: reader.Record) -> float:
    return record.sum if record.kind in (2, 4) else record.words[0]


def own(daemon: FakeDaemon) -> Dict[str, List[reader.Record]]:
    """Records of names that are not the agent's, in all ledgers."""
    found: Dict[str, List[reader.Record]] = {}
    for index in range(len(daemon.ledgers)):
        for record in reader.records(daemon.data(index)):
            if not record.name.startswith("agent_"):
                found.setdefault(record.name, []).append(record)
    return found


class Metrics(unittest.TestCase):
    def setUp(self) -> None:
        self.daemon = FakeDaemon()
        self.agent = Agent("indexer", self.daemon.path)
        wait_until(lambda: self.agent.connected)

    def tearDown(self) -> None:
        self.agent.close()
        self.daemon.close()

    def only(self, name: str) -> reader.Record:
        (record,) = own(self.daemon)[name]
        return record

    def test_counter(self) -> None:
        documents = self.agent.counter("documents_indexed_total", "Documents.", labels=["source", "kind"])
        documents.labels(source="mail").add(2)
        documents.labels(source="mail", unknown="x").add()
        for wrong in (-1, 0.5, math.nan, None, "1", 1 << 64):
            documents.labels(source="mail").add(wrong)  # type: ignore[arg-type]
        record = self.only("documents_indexed_total")
        self.assertEqual((record.kind, record.words, record.labels), (1, [3], (("source", "mail"),)))
        self.assertEqual((record.help, record.unit), ("Documents.", ""))

    def test_fractions(self) -> None:
        busy = self.agent.fraction_counter("busy_seconds_total", "Busy.", unit="seconds")
        for amount in (0.5, 1, -1, math.inf, math.nan):
            busy.add(amount)
        record = self.only("busy_seconds_total")
        self.assertEqual((record.kind, value(record), record.unit), (4, 1.5, "seconds"))

    def test_gauge(self) -> None:
        queue = self.agent.gauge("queue_length")
        queue.set(7)
        queue.add(-2.5)
        self.assertEqual((self.only("queue_length").kind, value(self.only("queue_length"))), (2, 4.5))
        queue.set(math.nan)
        self.assertTrue(math.isnan(value(self.only("queue_length"))))

    def test_histogram(self) -> None:
        sizes = self.agent.histogram("page_bytes", "Size.", unit="bytes", buckets=[1000, 100, 10000, 100])
        values = [0, 50, 100, 101, 5000, 1e9, 1e300]
        for size in [*values, -1, math.nan, math.inf]:
            sizes.observe(size)
        record = self.only("page_bytes")
        self.assertEqual(record.bounds, (100, 1000, 10000))
        self.assertEqual(record.classic, [3, 1, 1, 2])
        self.assertEqual(record.zero + sum(record.native), len(values))
        self.assertEqual(record.sum, sum(map(float, values)))
        # Each between the bounds of its bucket, as the page has them.
        at = bisect_left([2 ** ((record.first + i) / 8) for i in range(record.native_count)], 5000)
        self.assertEqual(record.native[at], 1)
        self.assertLessEqual(record.zero_threshold * 16, 100)
        self.assertGreaterEqual(2 ** ((record.first + record.native_count - 1) / 8), 160000)

    def test_buckets_of_every_kind_are_within_what_a_record_may_have(self) -> None:
        cases: List[List[float]] = [[], [-1, 0, math.nan], [1e-9], [1e-200, 1e200], [*range(1, 500)]]
        for bounds in cases:
            shape = metrics.shape_of(bounds)
            self.assertLessEqual(len(shape.bounds), 64)
            self.assertTrue(0 < shape.native_count <= 4096)
            self.assertTrue(shape.zero_threshold >= 0 and all(map(math.isfinite, shape.bounds)))
        narrow = metrics.shape_of([0.1])
        self.assertEqual(narrow.zero_threshold, 2 ** ((narrow.first - 1) / 8))

    def test_a_name_is_one_thing(self) -> None:
        self.agent.counter("things_total", "First.").add(1)
        self.agent.counter("things_total", "Second.").add(1)
        self.agent.gauge("things_total").set(9)
        self.agent.counter("agent_llm_request_duration_seconds").add(1)
        self.assertEqual(self.only("things_total").words, [2])
        self.assertEqual(self.only("things_total").help, "First.")

    def test_what_does_not_fit_a_record_is_counted(self) -> None:
        for name, labels in (
            ("x" * 129, []),
            ("", []),
            ("a_total", ["k" * 65]),
            ("b_total", list("abcdefghi")),
        ):
            self.agent.counter(name, labels=labels).labels(**{label: 1 for label in labels}).add(1)
        self.agent.counter("c_total", "é" * 500).add(1)
        self.assertEqual(reader.word(self.daemon.data(), 168), 4)
        self.assertEqual(len(self.only("c_total").help.encode()), 256)

    def test_what_is_of_no_such_type_raises_nothing(self) -> None:
        declare: Any = self.agent
        refused = [
            declare.counter(None),
            declare.counter(5),
            declare.gauge([]),
            declare.counter("a_total", labels=[1]),
            declare.counter("a_total", labels=5),
            declare.histogram("a_bytes", buckets=5),
        ]
        for metric in refused:
            metric.labels(x=1)
        refused[0].add(1)
        self.assertEqual(reader.word(self.daemon.data(), 168), len(refused))
        self.assertEqual(own(self.daemon), {})
        declare.counter("a_total", None, labels=None, unit=None).add(1)
        declare.histogram("a_bytes", buckets=["a", None, Fraction(1, 2), 10**400]).observe(1)
        declare.counter("b_total", labels=(name for name in "xy")).labels(y=Mute()).add(1)
        self.assertEqual(self.only("a_total").words, [1])
        self.assertEqual(self.only("a_bytes").bounds, (0.5,))
        self.assertEqual(self.only("b_total").labels, (("y", "?"),))

    def test_label_sets_are_bounded(self) -> None:
        users = self.agent.counter("users_total", labels=["user"])
        for number in range(metrics.LABEL_SETS_MAX + 50):
            users.labels(user=number).add(1)
        found = {record.labels[0][1]: record.words[0] for record in own(self.daemon)["users_total"]}
        self.assertEqual(len(found), metrics.LABEL_SETS_MAX + 1)
        self.assertEqual(found["overflow"], 50)

    def test_values_that_are_the_same_in_a_ledger_are_one_series(self) -> None:
        texts = self.agent.counter("texts_total", labels=["text"])
        for text in ("x" * 256 + "a", "x" * 257, "é" * 129, "\ud800", "?"):
            texts.labels(text=text).add(1)
        found = {record.labels[0][1]: record.words[0] for record in own(self.daemon)["texts_total"]}
        self.assertEqual(found, {"overflow": 3, "?": 2})

    def test_amounts_that_no_float_can_be_count_nowhere(self) -> None:
        self.agent.gauge("level").set(10**400)
        self.agent.fraction_counter("spent_total").add(10**400)
        self.agent.histogram("sizes").observe(10**400)
        self.assertEqual(own(self.daemon), {})

    def test_threads_lose_nothing(self) -> None:
        counter, gauge = self.agent.counter("n_total", labels=["t"]), self.agent.gauge("level")
        histogram = self.agent.histogram("wait_seconds", unit="seconds")

        def work(number: int) -> None:
            for i in range(2000):
                counter.labels(t=number % 2).add(1)
                gauge.add(1)
                histogram.observe(i * 0.001)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([record.words[0] for record in own(self.daemon)["n_total"]], [4000, 4000])
        self.assertEqual(value(self.only("level")), 8000)
        self.assertEqual(sum(self.only("wait_seconds").classic), 8000)

    def test_forked_child_has_its_own(self) -> None:
        counter = self.agent.counter("n_total", labels=["who"])
        counter.labels(who="parent").add(1)

        def child() -> None:
            counter.labels(who="child").add(5)
            wait_until(lambda: self.agent.connected)
            self.agent.close()

        self.assertEqual(os.waitpid(fork(child), 0)[1], 0)
        found = [(r.labels[0][1], r.words[0]) for r in own(self.daemon)["n_total"]]
        self.assertEqual(found, [("parent", 1), ("child", 5)])

    def test_gauges_go_on_in_a_new_ledger_and_counters_begin_anew(self) -> None:
        self.agent.gauge("level").set(4)
        self.agent.counter("n_total").add(4)
        self.daemon.stop()
        self.daemon.behave = FakeDaemon.grant_new
        self.daemon.start()
        wait_until(lambda: len(self.daemon.ledgers) == 2 and self.agent.connected)
        self.agent.counter("n_total").add(1)
        records = {r.name: value(r) for r in reader.records(self.daemon.data())}
        self.assertEqual((records["level"], records["n_total"]), (4, 1))


class Full(unittest.TestCase):
    SIZE = 16384

    def fill(self, behave: "object") -> "tuple[FakeDaemon, Agent]":
        daemon = FakeDaemon(behave=behave)  # type: ignore[arg-type]
        agent = Agent("large", daemon.path)
        wait_until(lambda: agent.connected)
        return daemon, agent

    def test_a_full_ledger_is_followed_by_another(self) -> None:
        daemon, agent = self.fill(lambda daemon, peer: daemon.grant_new(peer, self.SIZE))
        counter = agent.counter("n_total", labels=["n"])
        for _ in range(3):
            for number in range(300):
                counter.labels(n=number).add(1)
        agent.histogram("wait_seconds", unit="seconds").observe(1)
        agent.gauge("level").set(3)
        wait_until(lambda: len(own(daemon)) == 3)
        wait_until(lambda: sum(sum(r.words[:1]) for r in own(daemon).get("n_total", ())) == 900)
        records = own(daemon)["n_total"]
        labels = [record.labels for record in records]
        self.assertEqual(len(labels), len(set(labels)), "a series is in one ledger")
        self.assertGreater(len(daemon.ledgers), 1)
        self.assertTrue(all(not peer.fds and peer.hello["agent"] == "large" for peer in daemon.peers))
        self.assertEqual(value(own(daemon)["level"][0]), 3)
        (waits,) = own(daemon)["wait_seconds"]
        self.assertEqual((waits.sum, sum(waits.classic), sum(waits.native)), (1, 1, 1))
        agent.close()
        wait_until(lambda: all(struct.unpack_from("<Q", ledger, 144)[0] == 1 for ledger in daemon.ledgers))
        daemon.close()

    def test_further_ledgers_are_waited_for_at_the_end(self) -> None:
        def behave(daemon: FakeDaemon, peer: Peer) -> None:
            if daemon.ledgers:
                time.sleep(0.1)
            daemon.grant_new(peer, self.SIZE)

        daemon, agent = self.fill(behave)
        counter = agent.counter("n_total", labels=["n"])
        for number in range(190):
            counter.labels(n=number).add(1)
        agent.close()
        self.assertGreater(len(daemon.ledgers), 1)
        self.assertEqual(sum(r.words[0] for r in own(daemon)["n_total"]), 190)
        self.assertTrue(all(struct.unpack_from("<Q", ledger, 144)[0] == 1 for ledger in daemon.ledgers))
        daemon.close()

    def test_what_waited_for_a_smaller_ledger_goes_to_further_ones(self) -> None:
        daemon = FakeDaemon(behave=lambda daemon, peer: daemon.grant_new(peer, self.SIZE))
        daemon.stop()
        agent = Agent("large", daemon.path)
        counter = agent.counter("n_total", labels=["n"])
        for number in range(190):
            counter.labels(n=number).add(number + 1)
        daemon.start()
        wait_until(lambda: sum(r.words[0] for r in own(daemon).get("n_total", ())) == sum(range(191)))
        self.assertGreater(len(daemon.ledgers), 1)
        agent.close()
        daemon.close()

    def test_no_thread_can_be_had_for_a_further_ledger(self) -> None:
        daemon, agent = self.fill(lambda daemon, peer: daemon.grant_new(peer, self.SIZE))
        counter = agent.counter("n_total", labels=["n"])
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("none")):
            for number in range(190):
                counter.labels(n=number).add(1)
        self.assertEqual(len(daemon.ledgers), 1)
        with mock.patch("time.monotonic", return_value=time.monotonic() + 1):
            counter.labels(n=189).add(1)
        wait_until(lambda: sum(r.words[0] for r in own(daemon)["n_total"]) == 191)
        self.assertGreater(len(daemon.ledgers), 1)
        agent.close()
        daemon.close()

    def test_refused_another_it_counts_on(self) -> None:
        def behave(daemon: FakeDaemon, peer: Peer) -> None:
            if daemon.ledgers:
                peer.answer({"musterd": 1, "ok": False, "error": "too many ledgers", "retry": True})
                peer.socket.close()
            else:
                daemon.grant_new(peer, self.SIZE)

        daemon, agent = self.fill(behave)
        counter = agent.counter("n_total", labels=["n"])
        for number in range(200):
            counter.labels(n=number).add(1)
        with agent.request():
            pass
        self.assertEqual(reader.counters(daemon.data(), "agent_requests_total"), {"success": 1})
        self.assertEqual(len(daemon.ledgers), 1)
        agent.close()
        daemon.close()


if __name__ == "__main__":
    unittest.main()
