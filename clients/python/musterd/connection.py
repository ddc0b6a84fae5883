"""The way to the daemon: one background thread that says hello, takes a ledger and comes back.

Follows the handshake of docs/ledger.md. Whatever the daemon does or answers, nothing is raised into
the program, nothing is printed, and the ledger in use stays good.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import socket
import threading
import time
from typing import Callable, NamedTuple

from . import layout
from .errors import text_of
from .ledger import BASE_END, Ledger, Memory

CLIENT_VERSION = "0.1.0"
CLIENT = f"python {CLIENT_VERSION}"

LINE_MAX = 4096
TEXT_MAX = 64
# In seconds: what is promised for longer is promised for this.
HEARTBEAT_MAX = 86400.0
LEDGER_MAX = 1 << 30
ANSWER_SECONDS = 5.0
RETRY_FIRST, RETRY_GROWTH, RETRY_MAX = 0.02, 1.6, 1.0
# After a refusal for good: an operator may change the daemon's settings.
REFUSED_RETRY = 60.0
SETTLED_SECONDS = 1.0
# After a thread could not be started.
START_RETRY = 1.0

_F_GET_SEALS = getattr(fcntl, "F_GET_SEALS", 1034)
_F_SEAL_SHRINK = getattr(fcntl, "F_SEAL_SHRINK", 2)
_FDS_MAX = 4


class Refused(Exception):
    """The daemon wants no such agent: for now, or for good."""

    def __init__(self, for_good: bool) -> None:
        self.for_good = for_good


class Answer(NamedTuple):
    """What the daemon granted: a new ledger, or the one that we sent."""

    memory: Memory | None
    duration_schema: object = None


def hello_line(
    agent: str,
    version: str | None,
    framework: str | None,
    heartbeat_seconds: object,
) -> bytes:
    """The line that introduces the agent; what the protocol has no room for is cut."""
    hello: dict[str, object] = {"musterd": layout.VERSION, "agent": agent_name(agent)}
    for key, text in (("client", CLIENT), ("version", version), ("framework", framework)):
        if text:
            hello[key] = layout.cut(text_of(text), TEXT_MAX).decode()
    promised = promise(heartbeat_seconds)
    if promised is not None:
        hello["heartbeat_seconds"] = promised
    return json.dumps(hello).encode() + b"\n"


def promise(heartbeat_seconds: object) -> float | None:
    """A promise of heartbeats as the protocol allows it: more than 0 s, and a day at most."""
    seconds = None if isinstance(heartbeat_seconds, bool) else layout.number(heartbeat_seconds)
    return min(seconds, HEARTBEAT_MAX) if seconds is not None and 0 < seconds < math.inf else None


def agent_name(text: str) -> str:
    """`text` as the protocol allows it: `A-Z a-z 0-9 _ . -`, 1 to 64 of them."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text_of(text))[:TEXT_MAX] or "python"


def handshake(sock: socket.socket, hello: bytes, ledger_fd: int | None) -> Answer:
    """Say hello and read the answer. Any exception means: try again later."""
    if ledger_fd is None:
        sock.sendall(hello)
    else:
        sent = socket.send_fds(sock, [hello], [ledger_fd])
        sock.sendall(hello[sent:])
    line, fds = _receive(sock)
    try:
        answer = json.loads(line)
        if not isinstance(answer, dict) or answer.get("musterd") != layout.VERSION:
            raise ValueError("not an answer of this protocol")
        if answer.get("ok") is not True:
            raise Refused(answer.get("retry") is False)
        if answer.get("ledger") == "resumed" and ledger_fd is not None:
            return Answer(None)
        if answer.get("ledger") != "new" or not fds:
            raise ValueError("no ledger in the answer")
        return Answer(map_ledger(fds.pop(0), answer.get("size")), answer.get("duration_schema"))
    finally:
        for fd in fds:
            os.close(fd)


def map_ledger(fd: int, size: object) -> Memory:
    """Map the ledger in `fd`, which is owned from here on, once it is known to be sound.

    Without the seal a daemon could shrink the file, and the next count would kill the program.
    """
    try:
        if not isinstance(size, int) or not BASE_END <= size <= LEDGER_MAX or size % 8:
            raise ValueError(f"a ledger of {size!r} bytes")
        if os.fstat(fd).st_size != size or not fcntl.fcntl(fd, _F_GET_SEALS) & _F_SEAL_SHRINK:
            raise ValueError("not a sealed file of that size")
        memory = Memory(size, fd)
    except BaseException:
        os.close(fd)
        raise
    magic, version, header_size, inner_size, _, *offsets = layout.HEADER.unpack_from(memory.data)
    if (
        (magic, version, header_size, inner_size) != (layout.MAGIC, layout.VERSION, layout.HEADER_SIZE, size)
        or offsets != [layout.SLOTS_OFFSET, layout.SLOT_COUNT, layout.RECORDS_OFFSET]
        or memory.words[layout.RECORDS_END] != layout.RECORDS_OFFSET
        or memory.words[layout.RETIRED]
    ):
        raise ValueError("not a fresh ledger of this version")
    return memory


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Read one line and the descriptors that come with it."""
    line, fds = b"", []  # type: tuple[bytes, list[int]]
    try:
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in line:
            data, more, _, _ = socket.recv_fds(sock, LINE_MAX, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
            fds += more
            line += data
            if not data or len(line) > LINE_MAX or time.monotonic() > deadline:
                raise OSError(errno.EPROTO, "no answer of one line")
        return line, fds
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


class Connection:
    """Keeps one agent's ledger connected, from `start` to `stop`."""

    def __init__(
        self,
        path: str,
        hello: bytes,
        ledger: Ledger,
        replace: Callable[[Ledger], None],
        beat_seconds: float | None,
        beat: Callable[[], None],
        refused_seconds: float = RETRY_MAX,
    ) -> None:
        """`replace` is told when counting must go on in another ledger, from zero. `refused_seconds`: how
        long to wait after a refusal that is not for good."""
        self._refused_seconds = refused_seconds
        self._path = path
        self._hello = hello
        self._ledger = ledger
        self._replace = replace
        self._beat_seconds = beat_seconds
        self._beat = beat
        self._socket: socket.socket | None = None
        # The same, and before the daemon has answered.
        self._open: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._start_again = 0.0
        self._stopped = threading.Event()
        self._tried = threading.Event()

    @property
    def connected(self) -> bool:
        """Whether the daemon is there now."""
        return self._socket is not None

    def start(self, at_once: bool = False) -> bool:
        """Start the thread, unless it is there: whether it is now. Without one, counts stay local.

        It is tried at most once a second, or `at_once`.
        """
        due = at_once or time.monotonic() >= self._start_again
        if self._thread is None and due and not self._stopped.is_set():
            thread = threading.Thread(target=self._run, name="musterd", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError):  # the process has too many, or is about to end
                self._start_again = time.monotonic() + START_RETRY
            else:
                self._thread = thread
        return self._thread is not None

    @property
    def start_failed(self) -> bool:
        """Whether a thread was wanted, and there is none."""
        return self._thread is None and self._start_again > 0

    def wait_tried(self, seconds: float) -> None:
        """Wait until the daemon has been reached for the first time, or could not be."""
        if self._thread is not None:
            self._tried.wait(seconds)

    def stop(self) -> None:
        """Close the connection and have the thread end."""
        self._stopped.set()
        sock = self._open
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait_ended(self, seconds: float) -> None:
        """Wait until the thread has ended, after `stop`."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(seconds, 0))

    def abandon(self) -> None:
        """Close the parent's connection in a forked child, without ending it."""
        self._stopped = threading.Event()
        self._stopped.set()
        if self._open is not None:
            self._open.close()

    def _run(self) -> None:
        delay = RETRY_FIRST
        while not self._stopped.is_set():
            began, refused = time.monotonic(), None
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                    self._open = sock
                    self._connect(sock)
                    self._tried.set()
                    self._watch(sock)
            except Refused as refusal:
                refused = REFUSED_RETRY if refusal.for_good else self._refused_seconds
            except Exception:  # whatever it was, it is the daemon's trouble and not the program's
                pass
            finally:
                self._socket = self._open = None
                self._tried.set()
            if time.monotonic() - began > SETTLED_SECONDS:
                delay = RETRY_FIRST
            self._stopped.wait(delay if refused is None else refused)
            delay = min(delay * RETRY_GROWTH, RETRY_MAX)

    def _connect(self, sock: socket.socket) -> None:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(self._path)
        if self._stopped.is_set():  # and so nobody will shut it down
            return
        fd = self._ledger.memory.fd
        answer = handshake(sock, self._hello, fd)
        if self._stopped.is_set():
            return
        if answer.memory is not None:
            if fd is not None:  # the books of the ledger we have are closed
                self._ledger = self._ledger.successor()
            self._ledger.adopt(answer.memory, answer.duration_schema)
            self._replace(self._ledger)
        self._socket = sock

    def _watch(self, sock: socket.socket) -> None:
        """Return when the connection ends. The daemon has nothing to say: what it sends ends it too."""
        sock.settimeout(self._beat_seconds)
        while not self._stopped.is_set():
            self._beat()
            try:
                sock.recv(1)
                return
            except socket.timeout:
                continue
