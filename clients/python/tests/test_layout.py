import math
import struct
import unittest
from bisect import bisect_left
from fractions import Fraction

from musterd import Agent, durations, layout
from musterd.durations import durations_of
from musterd.layout import RECORDS_OFFSET
from musterd.ledger import BASE_END, REQUESTS, Ledger, Memory

from . import reader


def recorded(*seconds: float) -> reader.Record:
    ledger = Ledger()
    for value in seconds:
        ledger.observe(value, {})
    return reader.durations(bytes(ledger.memory.data))


class RecordBytes(unittest.TestCase):
    def test_counter(self) -> None:
        record = layout.record(layout.COUNTER, "agent_requests_total", {"status": "error"})
        expected = struct.pack("<IBBHHHI", 88, 1, 1, 20, 0, 0, 80) + bytes(24)
        expected += b"agent_requests_total" + struct.pack("<HH", 6, 5) + b"statuserror"
        self.assertEqual(record.data, expected.ljust(88, b"\0"))

    def test_duration_histogram_has_the_usual_shape(self) -> None:
        durations = recorded()
        self.assertEqual((durations.schema, durations.first, durations.native_count), (3, -159, 272))
        self.assertEqual(durations.zero_threshold, 2**-20)
        self.assertEqual(
            durations.bounds, (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
        )

    def test_long_label_value_is_cut_between_characters(self) -> None:
        self.assertEqual(layout.cut("é" * 200, 255), ("é" * 127).encode())
        self.assertEqual(layout.cut("a\ud800", 64), b"a?")


class Buckets(unittest.TestCase):
    def test_bounds_are_the_greatest_doubles_not_above_the_power(self) -> None:
        for schema in layout.DURATION_SCHEMAS:
            shape = layout.duration(schema)
            for index in range(shape.first, shape.first + shape.native_count):
                bound = Fraction(layout.upper_bound(schema, index))
                above = bound * (1 + Fraction(1, 2**52))
                self.assertLessEqual(bound ** (1 << schema), Fraction(2) ** index)
                self.assertGreater(above ** (1 << schema), Fraction(2) ** index)

    def test_powers_of_two_close_their_bucket(self) -> None:
        for exponent in range(-19, 14):
            at = 8 * exponent + 159
            native = recorded(2.0**exponent, 2.0**exponent * (1 + 2**-52)).native
            self.assertEqual((native[at], native[at + 1]), (1, 1), exponent)

    def test_below_and_above_the_range(self) -> None:
        durations = recorded(0.0, 2.0**-20, 2.0**14, 2.0**14 + 1, 1e9)
        self.assertEqual(durations.zero, 2)
        self.assertEqual(durations.native[-1], 3)
        self.assertEqual(sum(durations.native), 3)
        self.assertEqual(durations.classic[0], 2)
        self.assertEqual(durations.classic[-1], 3)

    def test_classic_bounds_are_inclusive(self) -> None:
        for i, bound in enumerate(
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
        ):
            classic = recorded(bound, bound * (1 + 2**-52)).classic
            self.assertEqual((classic[i], classic[i + 1]), (1, 1), bound)

    def test_every_bound_agrees_with_a_search_for_each_kind(self) -> None:
        for schema in layout.DURATION_SCHEMAS:
            table = durations_of(schema)
            count = table.shape.native_count
            native = [2.0**-20] + [layout.upper_bound(schema, table.shape.first + i) for i in range(count)]
            self.assertEqual(native[-1], 2.0**14)
            for bound in table.bounds:
                for value in (bound, bound * (1 - 2**-53), bound * (1 + 2**-52)):
                    _, native_word, _, classic_word = table.cells[bisect_left(table.bounds, value)]
                    self.assertEqual(native_word - table.sum - 1, min(bisect_left(native, value), count))
                    self.assertEqual(
                        classic_word - table.sum - count - 2, bisect_left(layout.DURATION_BOUNDS, value)
                    )

    def test_requests_find_the_cell_of_a_search_without_one(self) -> None:
        daemonless = Agent("cells", "/nonexistent/agent.sock")
        for schema in layout.DURATION_SCHEMAS:
            table = durations_of(schema)
            lengths = {cut + beside for cut in table.cuts[:-1] for beside in (-1, 0, 1)}
            lengths |= {durations.SHORT_END, durations.LONGER_END, durations.LONG_END, 0, 10**18}
            ledger = Ledger(durations=table)
            words = ledger.memory.words
            for lasted in lengths:
                _, native, _, classic = table.cells[bisect_left(table.cuts, lasted)]
                before = words[native], words[classic]
                daemonless.request().record(ledger.free.pop(), ledger, lasted)
                after = words[native], words[classic]
                self.assertEqual(after, (before[0] + 1, before[1] + 1), lasted)
            found = reader.durations(bytes(ledger.memory.data))
            self.assertEqual(found.zero + sum(found.native), len(lengths))
            self.assertEqual(sum(found.classic), len(lengths))
        daemonless.close()

    def test_another_resolution_keeps_every_observation(self) -> None:
        values = [1e-9, 0.004, 0.3, 0.3, 299.0, 1e5]
        for schema in layout.DURATION_SCHEMAS:
            ledger = Ledger()
            for value in values:
                ledger.observe(value, {})
            ledger.add({("agent_tokens_total", (("model", "m"), ("type", "input"))): 7})
            ledger.adopt(Memory(), schema)
            ledger.observe(0.3, {})
            data = bytes(ledger.memory.data)
            self.assertEqual(reader.counters(data, "agent_tokens_total"), {"m,input": 7})
            found = reader.durations(data)
            self.assertEqual(
                (found.schema, found.first, len(found.native)), (schema, 1 - (20 << schema), 34 << schema)
            )
            self.assertEqual((found.zero, sum(found.native), sum(found.classic)), (1, 6, 7))
            self.assertEqual((found.native[-1], found.classic[-1]), (1, 1))
            self.assertEqual((found.sum, ledger.seconds()), (sum(values) + 0.3,) * 2)
            if schema <= 3:  # as if it had been counted so from the beginning
                expected = Ledger(durations=durations_of(schema))
                for value in (*values, 0.3):
                    expected.observe(value, {})
                self.assertEqual(found, reader.durations(bytes(expected.memory.data)))
            else:  # what has been counted before is off by no more than a bucket was wide
                for value in values[1:5]:
                    places = [i for i, count in enumerate(found.native) if count]
                    nearest = min(abs(math.log2(value) - (found.first + i) / 2**schema) for i in places)
                    self.assertLess(nearest, 1 / 8)

    def test_what_is_no_resolution_changes_nothing(self) -> None:
        for schema in (None, 6, -1, True, 3.0, "5", [5], {}):
            ledger = Ledger()
            ledger.observe(0.3, {})
            ledger.adopt(Memory(), schema)
            self.assertEqual(reader.durations(bytes(ledger.memory.data)), recorded(0.3))

    def test_a_request_counts_in_the_resolution_that_came_while_it_waited_for_its_turn(
        self,
    ) -> None:
        class Late(Ledger):
            """Somebody else has the turn, to adopt another memory, just before whoever wants it."""

            def __delattr__(self, name: str) -> None:
                if self.memory.size == layout.DEFAULT_SIZE:
                    self._adopt(Memory(1 << 16), durations_of(5))
                super().__delattr__(name)

        daemonless = Agent("late", "/nonexistent/agent.sock")
        for count in (
            lambda ledger: daemonless.request().record(ledger.free.pop(), ledger, 3 * 10**8),
            lambda ledger: ledger.observe(0.3, {REQUESTS["success"]: 1}),
        ):
            late, expected = Late(), Ledger(durations=durations_of(5))
            count(late)
            count(expected)
            found, wanted = (
                bytes(ledger.memory.data[RECORDS_OFFSET:BASE_END]) for ledger in (late, expected)
            )
            self.assertEqual(found, wanted)
            self.assertEqual(late.seconds(), expected.seconds())
        daemonless.close()

    def test_sum(self) -> None:
        self.assertEqual(recorded(0.25, 0.5, 1.0).sum, 1.75)


if __name__ == "__main__":
    unittest.main()
