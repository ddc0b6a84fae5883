"""The durations of requests in one resolution: their record, and the tables by which each finds its words.

Follows "Series that musterd knows" of docs/ledger.md. Pure: knows nothing of memory and of requests.
"""

from __future__ import annotations

import functools
import math
import sys
from bisect import bisect_left

from . import layout
from .layout import RECORDS_OFFSET

# The record is the first of a ledger, and as long in every resolution, so that what follows it stays where
# it is when the daemon wants another.
_ROOM = layout.duration(layout.DURATION_SCHEMAS[-1]).values()

# A request finds its cell without a search: its nanoseconds, shifted so, are the number of its slice, as
# long as there is one. A slice that is shorter than a bucket is wide holds one cut at most; the few that hold
# more are passed in steps.
SHORT, LONGER, LONG = 7, 14, 21
_SLICES = 2048
SHORT_END, LONGER_END, LONG_END = _SLICES << SHORT, _SLICES << LONGER, _SLICES << LONG


class Durations:
    """Where a request that lasted so long counts. Nothing here changes."""

    __slots__ = ("shape", "record", "sum", "bounds", "cells", "cuts", "slices")

    def __init__(self, schema: int) -> None:
        self.shape = layout.duration(schema)
        name = "agent_request_duration_seconds"
        self.record = layout.record(layout.HISTOGRAM, name, {}, self.shape, room=_ROOM)
        # Its first value word.
        self.sum = (RECORDS_OFFSET + self.record.values_offset) // 8
        # A duration in seconds belongs to cell `bisect_left(bounds, seconds)`.
        self.bounds, self.cells = layout.cells(self.shape, self.sum)
        # The same bounds for whole nanoseconds, and one that nothing lies above.
        self.cuts = [*(math.floor(bound * 1e9) for bound in self.bounds), sys.maxsize]
        # For each of these shifts the first cell of each slice.
        self.slices = tuple(
            [bisect_left(self.cuts, number << shift) for number in range(_SLICES)]
            for shift in (SHORT, LONGER, LONG)
        )


@functools.lru_cache(maxsize=None)
def durations_of(schema: int) -> Durations:
    """The tables of one of `layout.DURATION_SCHEMAS`."""
    return Durations(schema)
