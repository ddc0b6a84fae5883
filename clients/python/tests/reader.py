"""Reads ledgers by docs/ledger.md alone: shares no code with the client."""

import struct
from typing import Dict, List, NamedTuple, Tuple


class Record(NamedTuple):
    kind: int
    name: str
    labels: Tuple[Tuple[str, str], ...]
    schema: int
    first: int
    native_count: int
    zero_threshold: float
    bounds: Tuple[float, ...]
    words: List[int]
    help: str
    unit: str

    @property
    def sum(self) -> float:
        return struct.unpack("<d", struct.pack("<Q", self.words[0]))[0]

    @property
    def zero(self) -> int:
        return self.words[1]

    @property
    def native(self) -> List[int]:
        return self.words[2 : 2 + self.native_count]

    @property
    def classic(self) -> List[int]:
        return self.words[2 + self.native_count :]


def word(data: bytes, offset: int) -> int:
    return struct.unpack_from("<Q", data, offset)[0]


def apply_journal(data: bytearray) -> int:
    """Do step 3 for a journal that a dead client left behind; return the number of its pairs."""
    count = word(data, 496)
    assert count <= 15, count
    for i in range(count):
        offset, value = struct.unpack_from("<QQ", data, 496 - 16 * (i + 1))
        assert offset % 8 == 0 and offset + 8 <= len(data), offset
        assert 512 <= offset < word(data, 128) or offset in (152, 160), offset
        struct.pack_into("<Q", data, offset, value)
    struct.pack_into("<Q", data, 496, 0)
    return count


def in_flight(data: bytes) -> int:
    slots = struct.unpack_from("<128Q", data, 512)
    return sum(1 for slot in slots if slot) + word(data, 152) - word(data, 160)


def records(data: bytes) -> List[Record]:
    found, offset, end = [], 1536, word(data, 128)
    assert end <= len(data)
    while offset < end:
        size, kind, labels_count, name_length, help_length, unit_length, values_offset = struct.unpack_from(
            "<IBBHHHI", data, offset
        )
        schema, first, native_count, classic_count, zero = struct.unpack_from("<iiIId", data, offset + 16)
        assert size % 8 == 0 and values_offset % 8 == 0 and offset + size <= end
        at = offset + 40
        bounds = struct.unpack_from(f"<{classic_count}d", data, at)
        at += 8 * classic_count
        name = data[at : at + name_length].decode()
        at += name_length
        labels = []
        for _ in range(labels_count):
            key_length, value_length = struct.unpack_from("<HH", data, at)
            key = data[at + 4 : at + 4 + key_length].decode()
            at += 4 + key_length
            labels.append((key, data[at : at + value_length].decode()))
            at += value_length
        help = data[at : at + help_length].decode()
        at += help_length
        unit = data[at : at + unit_length].decode()
        at += unit_length
        assert not any(data[at : offset + values_offset]), "bytes before the values are 0"
        count = (size - values_offset) // 8
        assert count == (2 + native_count + classic_count + 1 if kind == 3 else 1), count
        words = list(struct.unpack_from(f"<{count}Q", data, offset + values_offset))
        found.append(
            Record(kind, name, tuple(labels), schema, first, native_count, zero, bounds, words, help, unit)
        )
        offset += size
    keys = [(record.name, record.labels) for record in found]
    assert len(keys) == len(set(keys)), "a series appears twice"
    return found


def counters(data: bytes, name: str) -> Dict[str, int]:
    """Values of a counter by its label values, joined with commas; zeros left out."""
    return {
        ",".join(value for _, value in record.labels): record.words[0]
        for record in records(data)
        if record.name == name and record.words[0]
    }


def durations(data: bytes) -> Record:
    (record,) = [r for r in records(data) if r.name == "agent_request_duration_seconds"]
    return record
