"""A daemon for tests: the agent socket of docs/ledger.md, with answers that a test may replace."""

import fcntl
import json
import mmap
import os
import socket
import struct
import tempfile
import threading
import time
from typing import Any, Callable, List, Optional

F_ADD_SEALS, SEAL_SHRINK, SEAL_GROW = 1033, 2, 4
SIZE = 262144


def make_ledger(size: int = SIZE, seal: bool = True) -> int:
    fd = os.memfd_create("ledger", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    header = struct.pack("<8sIIQ16sIIII", b"MUSTERDL", 1, 512, size, os.urandom(16), 512, 128, 1536, 0)
    os.ftruncate(fd, size)
    os.pwrite(fd, header[:size], 0)
    if size >= 136:
        os.pwrite(fd, struct.pack("<Q", 1536), 128)
    if seal:
        fcntl.fcntl(fd, F_ADD_SEALS, SEAL_SHRINK | SEAL_GROW)
    return fd


class Peer:
    """One client that has said hello."""

    def __init__(self, sock: socket.socket, hello: Any, fds: List[int]) -> None:
        self.socket = sock
        self.hello = hello
        self.fds = fds

    def answer(self, line: Any, fds: List[int] = []) -> None:
        data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        if fds:
            socket.send_fds(self.socket, [data], fds)
        else:
            self.socket.sendall(data)


class FakeDaemon:
    """Grants new ledgers and resumes the ones it is sent, or does what `behave` says."""

    def __init__(
        self, path: Optional[str] = None, behave: Optional[Callable[["FakeDaemon", Peer], None]] = None
    ) -> None:
        self._directory = None if path else tempfile.TemporaryDirectory()
        self.path = path or os.path.join(self._directory.name, "agent.sock")
        self.ledgers: List[mmap.mmap] = []
        self.fds: List[int] = []
        self.peers: List[Peer] = []
        self.behave = behave or FakeDaemon.grant
        self.duration_schema: Any = None
        self.start()

    def start(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            try:
                line, fds = b"", []
                while not line.endswith(b"\n"):
                    data, more, _, _ = socket.recv_fds(sock, 4096, 4)
                    fds += more
                    line += data
                    if not data:
                        break
                if line:
                    assert len(line) <= 4096
                    peer = Peer(sock, json.loads(line), fds)
                    self.behave(self, peer)
                    self.peers.append(peer)
            except OSError:
                sock.close()

    def grant(self, peer: Peer, size: int = SIZE) -> None:
        if peer.fds:
            peer.answer(
                {"musterd": 1, "ok": True, "ledger": "resumed", "size": os.fstat(peer.fds[0]).st_size}
            )
        else:
            self.grant_new(peer, size)

    def grant_new(self, peer: Peer, size: int = SIZE) -> None:
        fd = make_ledger(size)
        self.fds.append(fd)
        self.ledgers.append(mmap.mmap(fd, size))
        answer = {"musterd": 1, "ok": True, "ledger": "new", "size": size}
        if self.duration_schema is not None:
            answer["duration_schema"] = self.duration_schema
        peer.answer(answer, [fd])

    def stop(self) -> None:
        """Go away as a daemon that is killed does."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for peer in self.peers:
            peer.socket.close()
            for fd in peer.fds:
                os.close(fd)
        self.peers = []
        if os.path.exists(self.path):
            os.unlink(self.path)

    def close(self) -> None:
        self.stop()
        for fd in self.fds:
            os.close(fd)
        if self._directory:
            self._directory.cleanup()

    def __enter__(self) -> "FakeDaemon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def data(self, index: int = -1) -> bytes:
        return bytes(self.ledgers[index][:])


class Mute:
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)
