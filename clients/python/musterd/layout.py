"""The layout of a ledger, version 1: offsets, formats and the shape of the duration histogram.

Pure facts and arithmetic from docs/ledger.md. Knows nothing of sockets, threads or live memory.
A *word* here is the index of an 8-byte word; an *offset* is in bytes.
"""

from __future__ import annotations

import functools
import math
import struct
from bisect import bisect_left
from typing import Any, Mapping, NamedTuple, Sequence, Tuple

MAGIC = b"MUSTERDL"
VERSION = 1
HEADER_SIZE = 512
DEFAULT_SIZE = 262144
SLOT_COUNT = 128
SLOTS_OFFSET = HEADER_SIZE
RECORDS_OFFSET = SLOTS_OFFSET + 8 * SLOT_COUNT

# magic, version, header_size, size, identity, slots_offset, slot_count, records_offset
HEADER = struct.Struct("<8sIIQ16sIII")

# The native format of a word. CPython writes a long faster than a long long, of the same 8 bytes.
WORD = "L" if struct.calcsize("@L") == 8 else "Q"

# Words of the header that the daemon and the client share.
RETIRED = 64 // 8
RECORDS_END = 128 // 8
HEARTBEAT = 136 // 8
CLOSED = 144 // 8
UNSLOTTED_BEGUN = 152 // 8
UNSLOTTED_ENDED = 160 // 8
RECORDS_REFUSED = 168 // 8

JOURNAL_OFFSET = 496
JOURNAL_COUNT = JOURNAL_OFFSET // 8
JOURNAL_PAIRS_MAX = 15

COUNTER = 1
GAUGE = 2
HISTOGRAM = 3
FRACTIONS = 4

LABEL_VALUE_MAX = 256
LABEL_NAME_MAX = 64
LABELS_MAX = 8
NAME_MAX = 128
HELP_MAX = 256
UNIT_MAX = 32
BOUNDS_MAX = 64

RECORD = struct.Struct("<IBBHHHIiiIId")
LABEL = struct.Struct("<HH")


class Shape(NamedTuple):
    """How a histogram divides its range: exponential buckets and classic bounds."""

    schema: int
    first: int
    native_count: int
    zero_threshold: float
    bounds: tuple[float, ...]

    def values(self) -> int:
        """Number of value words: sum, zero bucket, exponential buckets, classic buckets."""
        return 2 + self.native_count + len(self.bounds) + 1


# Resolutions of the durations of requests that a daemon may ask for, and the one that they have unasked.
DURATION_SCHEMAS = range(6)
DURATION_SCHEMA = 3
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


def duration(schema: int) -> Shape:
    """The shape of the durations of requests, 1 µs to 4.5 h, in one of `DURATION_SCHEMAS`."""
    return Shape(
        schema=schema,
        first=1 - (20 << schema),
        native_count=34 << schema,
        zero_threshold=2.0**-20,
        bounds=DURATION_BOUNDS,
    )


CALLS = Shape(
    schema=3,
    first=-79,
    native_count=176,
    zero_threshold=2.0**-10,
    bounds=tuple(0.01 * 2**k for k in range(14)),
)


class Record(NamedTuple):
    """A record ready to be appended: its bytes, and where in them the values begin."""

    data: bytes
    values_offset: int


def number(value: object) -> float | None:
    """`value` as a float; `None` for what is no number, or too large for one."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            pass
    return None


def record(
    kind: int,
    name: str,
    labels: Mapping[str, str],
    shape: Shape | None = None,
    help: str = "",
    unit: str = "",
    room: int = 0,
) -> Record:
    """Write a record with values zero. Label values and the help text are cut to what a ledger allows.

    It is as long as if it had `room` values, if those are more: then a shape with more of them can still
    take its place. Raises ValueError if the name, the unit, or the labels do not fit.
    """
    strings = name.encode("utf-8", "replace")
    name_length = len(strings)
    help_bytes, unit_bytes = cut(help, HELP_MAX), unit.encode("utf-8", "replace")
    if not 1 <= name_length <= NAME_MAX or len(unit_bytes) > UNIT_MAX or len(labels) > LABELS_MAX:
        raise ValueError("too long for a record")
    for key, value in labels.items():
        key_bytes, value_bytes = key.encode("utf-8", "replace"), cut(value, LABEL_VALUE_MAX)
        if len(key_bytes) > LABEL_NAME_MAX:
            raise ValueError("too long for a record")
        strings += LABEL.pack(len(key_bytes), len(value_bytes)) + key_bytes + value_bytes
    strings += help_bytes + unit_bytes
    bounds = shape.bounds if shape else ()
    values = shape.values() if shape else 1
    values_offset = aligned(RECORD.size + 8 * len(bounds) + len(strings)) + 8 * max(room - values, 0)
    size = values_offset + 8 * values
    head = RECORD.pack(
        size,
        kind,
        len(labels),
        name_length,
        len(help_bytes),
        len(unit_bytes),
        values_offset,
        shape.schema if shape else 0,
        shape.first if shape else 0,
        shape.native_count if shape else 0,
        len(bounds),
        shape.zero_threshold if shape else 0.0,
    )
    body = head + struct.pack(f"<{len(bounds)}d", *bounds) + strings
    return Record(body.ljust(size, b"\0"), values_offset)


def cut(text: str, length: int) -> bytes:
    """`text` as UTF-8 of at most `length` bytes, never ending inside a character."""
    data = text.encode("utf-8", "replace")
    return data[:length].decode("utf-8", "ignore").encode()


def aligned(offset: int) -> int:
    """The next multiple of 8."""
    return (offset + 7) & ~7


def upper_bound(schema: int, index: int) -> float:
    """Upper bound of an exponential bucket of schema 0 to 8: the greatest double ≤ 2^(index/2^schema).

    Computed with integers: rounding up instead of down would put some values a bucket too low.
    """
    exponent, part = divmod(index, 1 << schema)
    return math.ldexp(_roots(schema)[part], exponent - 52)


@functools.lru_cache(maxsize=None)
def _roots(schema: int) -> list[int]:
    """2^(part/2^schema) for every part of an octave, in units of 2^-52."""
    roots = []
    for part in range(1 << schema):
        root = 1 << (part + (52 << schema))
        for _ in range(schema):
            root = math.isqrt(root)
        roots.append(root)
    return roots


# Where an observation counts: offset and word of its exponential bucket, then of its classic bucket.
# A plain tuple, because it is unpacked for every request.
Cell = Tuple[int, int, int, int]


def cells(shape: Shape, values: int) -> tuple[list[float], list[Cell]]:
    """Cut the range at every bound of either kind: one search then finds both buckets.

    `values` is the first value word of the histogram. An observation `v` belongs to cell
    `bisect_left(bounds, v)`.
    """
    native = [shape.zero_threshold]
    native += [upper_bound(shape.schema, shape.first + i) for i in range(shape.native_count)]
    first_native = values + 1
    first_classic = first_native + len(native)
    cuts = sorted({*native, *map(float, shape.bounds)})
    found = []
    for value in [*cuts, math.inf]:
        native_word = first_native + min(bisect_left(native, value), len(native) - 1)
        classic_word = first_classic + bisect_left(shape.bounds, value)
        found.append((8 * native_word, native_word, 8 * classic_word, classic_word))
    return cuts, found


def reshaped(old: Shape, new: Shape, values: Sequence[Any]) -> list[Any]:
    """The values of a histogram in the buckets of another schema, for the same range and bounds.

    What a bucket has counted goes to where its middle lies: exact where the new buckets are coarser.
    """
    natives = [new.zero_threshold] + [upper_bound(new.schema, new.first + i) for i in range(new.native_count)]
    middle = 2 / (1 + 2 ** (2.0**-old.schema))
    found = [*values[:2], *[0] * new.native_count, *values[2 + old.native_count :]]
    for place, count in enumerate(values[2 : 2 + old.native_count]):
        if place + 1 == old.native_count:  # it holds what lies above the range as well
            found[1 + new.native_count] += count
        elif count:
            found[1 + bisect_left(natives, middle * upper_bound(old.schema, old.first + place))] += count
    return found
