import math
import struct
import unittest
from bisect import bisect_left
from fractions import Fraction

from musterd import Agent, layout
from musterd.ledger import BOUNDS, CUTS, Durations, Ledger, Memory

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
        for index in range(-159, 113):
            bound = Fraction(layout.upper_bound(3, index))
            above = bound * (1 + Fraction(1, 2**52))
            self.assertLessEqual(bound**8, Fraction(2) ** index)
            self.assertGreater(above**8, Fraction(2) ** index)

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
            durations = Durations(schema)
            count = durations.shape.native_count
            native = [2.0**-20] + [layout.upper_bound(schema, durations.shape.first + i) for i in range(count)]
            self.assertEqual(native[-1], 2.0**14)
            self.assertLessEqual({*native, *durations.shape.bounds}, {*BOUNDS})
            for bound in BOUNDS:
                for value in (bound, bound * (1 - 2**-53), bound * (1 + 2**-52)):
                    _, native_word, _, classic_word = durations.cells[bisect_left(BOUNDS, value)]
                    self.assertEqual(native_word - durations.sum - 1, min(bisect_left(native, value), count))
                    above = bisect_left(layout.DURATION.bounds, value)
                    self.assertEqual(classic_word - durations.sum - count - 2, above)

    def test_requests_find_the_cell_of_a_search_without_one(self) -> None:
        lengths = {cut + beside for cut in CUTS[:-1] for beside in (-1, 0, 1)}
        lengths |= {layout.SLICE_COUNT << shift for shift in layout.SLICE_SHIFTS}
        lengths |= {0, 10**18}
        daemonless = Agent("cells", "/nonexistent/agent.sock")
        for schema in (3, 5):
            durations, ledger = Durations(schema), Ledger()
            ledger.adopt(Memory(), schema)
            words = range(durations.sum + 1, durations.sum + durations.shape.values())
            for lasted in sorted(lengths):
                before = ledger.words[words.start : words.stop].tolist()
                daemonless.request().record(ledger.free.pop(), ledger, lasted)
                after = ledger.words[words.start : words.stop].tolist()
                cell = durations.cells[bisect_left(CUTS, lasted)]
                counted = [word for word, old, new in zip(words, before, after) if old != new]
                self.assertEqual(counted, [cell[1], cell[3]], lasted)
        daemonless.close()

    def test_another_resolution_keeps_every_observation(self) -> None:
        values = [1e-9, 0.004, 0.3, 0.3, 299.0, 1e5]
        for schema in (0, 3, 5):
            ledger = Ledger()
            for value in values:
                ledger.observe(value, {})
            ledger.adopt(Memory(), schema)
            ledger.observe(0.3, {})
            found = reader.durations(bytes(ledger.memory.data))
            shape = (found.schema, found.first, len(found.native))
            self.assertEqual(shape, (schema, 1 - (20 << schema), 34 << schema))
            self.assertEqual((found.zero, sum(found.native), sum(found.classic)), (1, 6, 7))
            self.assertEqual((found.native[-1], found.classic[-1]), (1, 1))
            self.assertEqual(found.sum, sum(values) + 0.3)
            self.assertEqual(ledger.seconds(), found.sum)
            if schema <= 3:
                expected = [0] * len(found.native)
                for value in (*values, 0.3):
                    index = math.ceil(math.log2(value) * 2**schema) - found.first
                    if index >= 0:
                        expected[min(index, len(expected) - 1)] += 1
                self.assertEqual(found.native, expected)

    def test_what_is_no_resolution_changes_nothing(self) -> None:
        for schema in (None, 6, -1, True, 3.0, "5", [5]):
            ledger = Ledger()
            ledger.adopt(Memory(), schema)
            self.assertEqual(reader.durations(bytes(ledger.memory.data)).schema, 3)

    def test_sum(self) -> None:
        self.assertEqual(recorded(0.25, 0.5, 1.0).sum, 1.75)


if __name__ == "__main__":
    unittest.main()
