"""The ledger in memory: series, slots, and updates that count wholly or not at all.

Follows docs/ledger.md. Knows nothing of sockets and threads. The memory is local until `adopt` moves
all counts into the daemon's.

One writer at a time: whoever deletes the attribute `turn` may write, and sets it again. Both
are single steps of the interpreter, between which no signal handler runs, and cheaper than a lock.
Nobody waits for the turn: what finds it taken is queued, and whoever has it does that as well. So a
signal handler that reports a request in the middle of an update cannot deadlock, and one that raises
there leaves neither half an update nor a lost turn.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from bisect import bisect_left
from collections import deque
from time import monotonic_ns, sleep
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple, Union

from . import layout
from .durations import Durations, durations_of
from .layout import JOURNAL_COUNT, JOURNAL_OFFSET, RECORDS_END, RECORDS_OFFSET, WORD

STATUSES = ("success", "error", "timeout", "cancelled")

# A series is known by its name and labels.
Series = Tuple[str, Tuple[Tuple[str, str], ...]]

# Durations of what an agent does within a request: calls of models and tools.
LLM_DURATION = "agent_llm_request_duration_seconds"
FIRST_TOKEN = "agent_time_to_first_token_seconds"
TOOL_DURATION = "agent_tool_duration_seconds"

# What an update adds, by word or by series.
Amounts = Mapping[Union[int, Series], Union[int, float]]

NO_SLOT = 0

# Threads that outrun the writer pause from the first length on. At the second, which no living writer
# lets the queue reach, the turn has been lost and is taken anyway: CPython 3.9 runs signal handlers
# between any two steps, and one that raises there can lose it.
QUEUE_LONG = 64
QUEUE_STUCK = 20000
PAUSE_SECONDS = 0.0001


def requests_series(status: str) -> Series:
    """The series that counts requests ended with `status`."""
    return "agent_requests_total", (("status", status),)


class Declaration(NamedTuple):
    """What all series of one name have in common."""

    kind: int = layout.COUNTER
    help: str = ""
    unit: str = ""
    shape: layout.Shape | None = None
    # Of a histogram: see `layout.cells`, from the first value word.
    cuts: list[float] = []
    cells: list[layout.Cell] = []

    def values(self) -> int:
        """Number of value words."""
        return self.shape.values() if self.shape else 1


_CALLS = Declaration(layout.HISTOGRAM, "", "", layout.CALLS, *layout.cells(layout.CALLS, 0))
# Of the names that musterd knows; all others that no agent has declared are counters.
KNOWN = {name: _CALLS for name in (LLM_DURATION, FIRST_TOKEN, TOOL_DURATION)}
_COUNTER = Declaration()


# Every ledger begins with the same records: the durations, as long in every resolution, and then these. So
# their words are the same in every ledger.
_DURATIONS = durations_of(layout.DURATION_SCHEMA)
_REQUESTS_OFFSET = RECORDS_OFFSET + len(_DURATIONS.record.data)


def _requests() -> tuple[bytes, dict[str, int]]:
    data, words = b"", {}
    for status in STATUSES:
        name, labels = requests_series(status)
        record = layout.record(layout.COUNTER, name, dict(labels))
        words[status] = (_REQUESTS_OFFSET + len(data) + record.values_offset) // 8
        data += record.data
    return data, words


_REQUESTS_DATA, REQUESTS = _requests()
BASE_END = _REQUESTS_OFFSET + len(_REQUESTS_DATA)

_FIRST_SLOT = layout.SLOTS_OFFSET // 8
_SLOTS = range(_FIRST_SLOT, _FIRST_SLOT + layout.SLOT_COUNT)
_CARRIED = (layout.HEARTBEAT, layout.UNSLOTTED_BEGUN, layout.UNSLOTTED_ENDED, layout.RECORDS_REFUSED)

# The pairs of the journal lie directly below their count, so one call writes all of it, the count
# last. In native format each word is one 8-byte store.
_JOURNALS = [struct.Struct(f"@{2 * n + 1}{WORD}") for n in range(layout.JOURNAL_PAIRS_MAX + 1)]
_BITS, _FLOAT = struct.Struct(f"@{WORD}"), struct.Struct("@d")

# The same for the usual end of a request: classic bucket, exponential bucket, sum, success; then its
# slot and the count, whose bytes are at hand for every slot.
_END_PAIRS = 5
END_OFFSET = JOURNAL_OFFSET - 16 * _END_PAIRS
SUCCESS = REQUESTS["success"]
SUCCESS_OFFSET = 8 * SUCCESS
END_OF = {slot: struct.pack(f"@3{WORD}", 8 * slot, 0, _END_PAIRS) for slot in _SLOTS}
write_end = struct.Struct("@WW WW Wd WW 24s".replace("W", WORD)).pack_into


def _release() -> None:
    """Make what was stored before visible before what is stored next, on every processor.

    Passing a lock twice does. The journal needs none of this: it is read when its writer is dead.
    """
    lock = threading.Lock()
    for _ in range(2):
        with lock:
            pass


class Memory:
    """Memory that holds a ledger: local, or mapped from a descriptor, which it then owns."""

    __slots__ = ("data", "words", "floats", "size", "fd")

    def __init__(self, size: int = layout.DEFAULT_SIZE, fd: int | None = None) -> None:
        self.data: bytearray | mmap.mmap = bytearray(size) if fd is None else mmap.mmap(fd, size)
        self.words = memoryview(self.data).cast(WORD)
        self.floats = memoryview(self.data).cast("d")
        self.size = size
        self.fd = fd

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        fd = getattr(self, "fd", None)
        if fd is not None:
            close(fd)


class Ledger:
    """The counts of one agent. Every method may be called from any thread at any time."""

    __slots__ = (
        "words",
        "floats",
        "free",
        "memory",
        "hands",
        "turn",
        "_data",
        "_values",
        "_series",
        "_sums",
        "_queue",
        "_declared",
        "_further",
        "_durations",
    )

    def __init__(
        self,
        ready: bool = True,
        declared: Mapping[str, Declaration] = KNOWN,
        further: Callable[[], Ledger | None] = lambda: None,
        durations: Durations = _DURATIONS,
    ) -> None:
        """`further` gives the ledger that takes what finds no room in this one; `durations` holds until the
        daemon wants others."""
        self._declared = declared
        self._further = further
        self.free: list[int] = []
        self.turn: None = None
        self._queue: deque[Callable[[], None]] = deque()
        self._start(Memory(), durations)
        if ready:
            self.make_ready()

    def make_ready(self) -> None:
        """Let requests take slots: until then `free` is empty, which sends the first to the slow path."""
        self.free.extend(reversed(_SLOTS))

    def _start(self, memory: Memory, durations: Durations) -> None:
        """Begin from zero in local memory."""
        self._series: Dict[Series, int] = {requests_series(s): word for s, word in REQUESTS.items()}
        values: list[Any] = [0] * (BASE_END // 8)
        values[durations.sum] = 0.0
        memory.data[RECORDS_OFFSET:BASE_END] = durations.record.data + _REQUESTS_DATA
        self._use(memory, values, {durations.sum}, durations)

    def _use(self, memory: Memory, values: list[Any], sums: set[int], durations: Durations) -> None:
        """Publish the records in `memory`, and count there from now on.

        These stores call nothing, so that from CPython 3.10 on no signal handler runs between them.
        """
        memory.words[RECORDS_END] = 8 * len(values)
        self.memory = memory
        self._data = memory.data
        self.floats = memory.floats
        self.words = memory.words
        # What the words hold, up to the end of the records: a list is read faster than the memory.
        self._values = values
        # The words that hold fractions.
        self._sums = sums
        self._durations = durations
        # What the end of a request needs, to be taken at once. It is taken with the turn and replaced with
        # the turn: so nobody counts by the words of one resolution in a record of another.
        self.hands = (
            *(memory.words, memory.floats, values, self.free, self._queue),
            *(durations.slices, durations.cuts, durations.cells, durations.sum, 8 * durations.sum),
        )

    # All changes but the usual end of a request are queued, and done at once if nobody else is writing.

    def add(self, amounts: Amounts, slot: int = NO_SLOT) -> None:
        """Add all of `amounts` and give back `slot`, as one update."""
        self._perform(lambda: self._add(amounts, slot))

    def observe(self, seconds: float, amounts: Amounts, slot: int = NO_SLOT) -> None:
        """Add the duration of a request and `amounts`, and give back its slot, as one update."""
        self._perform(lambda: self._observe(seconds, amounts, slot))

    def observe_in(self, series: Series, value: float) -> None:
        """Add an observation to a histogram."""
        self._perform(lambda: self._observe_in(series, value))

    def set(self, series: Series, value: float) -> None:
        """Set a gauge."""
        self._perform(lambda: self._set(series, value))

    def heartbeat(self) -> None:
        """Show life."""
        self.words[layout.HEARTBEAT] = monotonic_ns()

    def refuse(self) -> None:
        """Count a series that no record can hold."""
        self._perform(lambda: self._refuse(1))

    def take(self, series: Series, amounts: list[Any]) -> None:
        """Add all values of a series that has found no room elsewhere."""
        self._perform(lambda: self._take(series, amounts))

    def adopt(self, memory: Memory, duration_schema: object = None) -> None:
        """Move to a new ledger of the daemon's, with all counts; durations get the schema that it wants."""
        wanted = self._durations
        if type(duration_schema) is int and duration_schema in layout.DURATION_SCHEMAS:
            wanted = durations_of(duration_schema)
        self._perform(lambda: self._adopt(memory, wanted))

    def close(self) -> None:
        """End this ledger on purpose. What is written from now on counts nowhere."""
        self._perform(self._close)

    def detach(self) -> None:
        """Let go of the memory in a forked child, whose parent goes on using it."""
        self.turn = None
        self._queue.clear()
        self._start(Memory(), self._durations)

    def total(self, series: Series) -> int:
        """What `series` has counted."""
        word = self._series.get(series, 0)
        return int(self._values[word]) if word else 0

    def totals(self) -> dict[Series, int]:
        """What every counter has counted."""
        return {s: self.total(s) for s in list(self._series) if self._declaration(s).kind == layout.COUNTER}

    def successor(self) -> Ledger:
        """A ledger that begins from zero after this one has been closed by the daemon; gauges go on."""
        ledger = Ledger(True, self._declared, self._further, self._durations)
        for series, word in list(self._series.items()):
            if word and self._declaration(series).kind == layout.GAUGE:
                ledger.set(series, self._values[word])
        return ledger

    def begun(self) -> list[int]:
        """When the requests in flight began, by `time.monotonic_ns`; without those that have no slot."""
        return [begun for begun in self.words[_FIRST_SLOT : _SLOTS.stop].tolist() if begun]

    def unslotted(self) -> int:
        """Number of requests in flight that found no slot."""
        return int(self._values[layout.UNSLOTTED_BEGUN] - self._values[layout.UNSLOTTED_ENDED])

    def seconds(self) -> float:
        """Sum of all durations."""
        # Taken at once, since the caller has no turn.
        _, _, values, *_, sum, _ = self.hands
        return float(values[sum])

    def _perform(self, change: Callable[[], None]) -> None:
        self._queue.append(change)
        self.drain()
        if len(self._queue) > QUEUE_LONG:
            sleep(PAUSE_SECONDS)
            if len(self._queue) > QUEUE_STUCK:
                self.turn = None
                self.drain()

    def drain(self) -> None:
        """Do what is queued, unless somebody has the turn and so will do it.

        They look into the queue after giving the turn back, and we for the turn after queueing:
        one of the two sees the other.
        """
        queue = self._queue
        while queue:
            try:
                del self.turn
            except AttributeError:
                return
            try:
                while queue:
                    queue.popleft()()
            finally:
                try:
                    self.finish()
                finally:
                    self.turn = None

    # From here on the caller has the turn.

    def _add(self, amounts: Amounts, slot: int) -> None:
        pairs: list[int] = []
        elsewhere: Dict[Union[int, Series], Union[int, float]] = {}
        for key, amount in amounts.items():
            word = key if isinstance(key, int) else self._word(key)
            if word:
                value = self._values[word] + amount
                pairs += (8 * word, value if isinstance(value, int) else _BITS.unpack(_FLOAT.pack(value))[0])
            else:
                elsewhere[key] = amount
        if slot:
            pairs += (8 * slot, 0)
        count = len(pairs) // 2
        _JOURNALS[count].pack_into(self._data, JOURNAL_OFFSET - 16 * count, *pairs, count)
        self.finish()
        if slot:
            self.free.append(slot)
        further = self._further() if elsewhere else None
        if further is not None:
            further.add(elsewhere)

    def _observe(self, seconds: float, amounts: Amounts, slot: int) -> None:
        # Looked up with the turn: until then another resolution may have come.
        _, native, _, classic = self._durations.cells[bisect_left(self._durations.bounds, seconds)]
        self._add({**amounts, self._durations.sum: seconds, native: 1, classic: 1}, slot)

    def _observe_in(self, series: Series, value: float) -> None:
        word, declared = self._word(series), self._declaration(series)
        if word:
            _, native, _, classic = declared.cells[bisect_left(declared.cuts, value)]
            self._add({word: value, word + native: 1, word + classic: 1}, NO_SLOT)
        else:
            further = self._further()
            if further is not None:
                further.observe_in(series, value)

    def _set(self, series: Series, value: float) -> None:
        word = self._word(series)
        if word:
            self._values[word] = self.floats[word] = value
        else:
            further = self._further()
            if further is not None:
                further.set(series, value)

    def _declaration(self, series: Series) -> Declaration:
        return self._declared.get(series[0], _COUNTER)

    def finish(self) -> None:
        """Apply the journal, as the daemon would had we died."""
        words, values = self.words, self._values
        for pair in range(words[JOURNAL_COUNT]):
            at = JOURNAL_COUNT - 2 * (pair + 1)
            word = words[at] // 8
            words[word] = words[at + 1]
            values[word] = self.floats[word] if word in self._sums else words[word]
        words[JOURNAL_COUNT] = 0

    def _word(self, series: Series) -> int:
        """The first value word of a series, appended if it is new; 0 if there is no room."""
        word = self._series.get(series)
        if word is None:
            word = self._series[series] = self._append(series)
        return word

    def _append(self, series: Series) -> int:
        (name, labels), declared = series, self._declaration(series)
        begin = 8 * len(self._values)
        record = layout.record(
            declared.kind, name, dict(labels), declared.shape, declared.help, declared.unit
        )
        end = begin + len(record.data)
        if end > self.memory.size:
            if self._further() is None:
                self._refuse(1)
            return 0
        self._data[begin:end] = record.data
        _release()
        self.words[RECORDS_END] = end
        self._values += [0] * (len(record.data) // 8)
        word = (begin + record.values_offset) // 8
        if declared.kind != layout.COUNTER:
            self._values[word] = 0.0
            self._sums.add(word)
        return word

    def _adopt(self, memory: Memory, wanted: Durations) -> None:
        end = BASE_END
        beyond: list[tuple[Series, list[Any]]] = []
        for series, word in self._series.items():
            # The values are the last words of a record.
            after_word = word + self._declaration(series).values()
            after = 8 * after_word
            if after <= memory.size:
                end = max(end, after)
            elif word:
                beyond.append((series, self._values[word:after_word]))
        old, new = self.memory, memory
        new.data[layout.SLOTS_OFFSET : RECORDS_OFFSET] = old.data[layout.SLOTS_OFFSET : RECORDS_OFFSET]
        for word in _CARRIED:
            new.words[word] = old.words[word]
        new.data[RECORDS_OFFSET:end] = old.data[RECORDS_OFFSET:end]
        values, sums = self._values[: end // 8], {word for word in self._sums if 8 * word < end}
        if wanted is not self._durations:
            self._reshape(new, values, wanted)
            sums = sums - {self._durations.sum} | {wanted.sum}
        _release()
        self._use(new, values, sums, wanted)
        for series, _ in beyond:
            self._series[series] = 0
        # A request takes its slot without the turn: it may just have taken one in the old memory.
        # Those that look at `words` from now on see the new one (see `Request.__enter__`).
        for slot in _SLOTS:
            if old.words[slot] and not new.words[slot]:
                new.words[slot] = old.words[slot]
        further = self._further() if beyond else None
        if further is None:
            self._refuse(len(beyond))
        else:
            for series, amounts in beyond:
                further.take(series, amounts)

    def _reshape(self, new: Memory, values: list[Any], wanted: Durations) -> None:
        """Bring the durations among `values` into another resolution, and into memory that the daemon does
        not read yet."""
        was, first, end = self._durations, RECORDS_OFFSET // 8, _REQUESTS_OFFSET // 8
        counts = layout.reshaped(was.shape, wanted.shape, values[was.sum : end])
        values[first:end] = [0] * (wanted.sum - first) + counts
        new.data[RECORDS_OFFSET:_REQUESTS_OFFSET] = wanted.record.data
        new.floats[wanted.sum] = counts[0]
        for word, count in enumerate(counts[1:], wanted.sum + 1):
            new.words[word] = count

    def _refuse(self, count: int) -> None:
        self.words[layout.RECORDS_REFUSED] += count

    def _take(self, series: Series, amounts: list[Any]) -> None:
        word = self._word(series)
        if word:
            for begin in range(0, len(amounts), layout.JOURNAL_PAIRS_MAX):
                part = enumerate(amounts[begin : begin + layout.JOURNAL_PAIRS_MAX], word + begin)
                self._add({at: amount for at, amount in part if amount}, NO_SLOT)
        else:
            further = self._further()
            if further is not None:
                further.take(series, amounts)

    def _close(self) -> None:
        self.words[layout.CLOSED] = 1
        self._start(Memory(), self._durations)
