"""The daemon: absent, late, gone and back, refusing, hostile."""

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from musterd import Agent, ledger
from musterd.connection import agent_name, hello_line

from . import reader
from .daemon import FakeDaemon, Peer, make_ledger, wait_until


# Three workers of multiprocessing, each of which ends at once after a request.
WORKERS = """
import multiprocessing
import sys
import musterd

agent = musterd.Agent("pool")

def work():
    with agent.request():
        pass

if __name__ == "__main__":
    for _ in range(3):
        worker = multiprocessing.get_context(sys.argv[1]).Process(target=work)
        worker.start()
        worker.join()
"""


def finish(agent: Agent, count: int) -> None:
    for _ in range(count):
        with agent.request():
            pass


def successes(daemon: FakeDaemon, index: int = -1) -> int:
    return reader.counters(daemon.data(index), "agent_requests_total").get("success", 0)


def run(program: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": here, **environment},
        capture_output=True,
        timeout=20,
    )


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Hello(unittest.TestCase):
    def test_all_keys(self) -> None:
        hello = json.loads(hello_line("billing", "2.3", "crewai", 30))
        self.assertEqual(
            hello,
            {
                "musterd": 1,
                "agent": "billing",
                "client": hello["client"],
                "version": "2.3",
                "framework": "crewai",
                "heartbeat_seconds": 30,
            },
        )
        self.assertTrue(hello["client"].startswith("python "))

    def test_limits(self) -> None:
        line = hello_line("ä/" * 100, "\0" * 5000, "\ud800é" * 100, float("nan"))
        self.assertLessEqual(len(line), 4096)
        hello = json.loads(line)
        self.assertEqual(hello["agent"], "_" * 64)
        self.assertLessEqual(len(hello["framework"].encode()), 64)
        self.assertNotIn("heartbeat_seconds", hello)
        self.assertEqual(agent_name(""), "python")
        for promised, told in [
            (1e5, 86400),
            (0.5, 0.5),
            (0, None),
            (True, None),
            ("30", None),
            (math.inf, None),
        ]:
            hello = json.loads(hello_line("a", None, None, promised))
            self.assertEqual(hello.get("heartbeat_seconds"), told, promised)

    def test_environment(self) -> None:
        with FakeDaemon() as daemon:
            program = "import musterd, time; a = musterd.Agent()\nwith a.request(): pass"
            done = run(program, MUSTERD_AGENT="from-env", MUSTERD_SOCKET=daemon.path)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            self.assertEqual(daemon.peers[0].hello["agent"], "from-env")
            self.assertEqual(successes(daemon), 1, "a short program's counts arrive before it exits")
            self.assertEqual(reader.word(daemon.data(), 144), 1)

    def test_workers_of_multiprocessing(self) -> None:
        for method in ("fork", "forkserver", "spawn"):
            with FakeDaemon() as daemon, tempfile.NamedTemporaryFile("w", suffix=".py") as script:
                script.write(WORKERS)
                script.flush()
                here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
                environment = {"MUSTERD_SOCKET": daemon.path, "PYTHONPATH": here}
                done = subprocess.run(
                    [sys.executable, script.name, method],
                    env={**os.environ, **environment},
                    capture_output=True,
                    timeout=120,
                )
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""), method)
                ledgers = range(len(daemon.ledgers))
                self.assertEqual(sum(successes(daemon, index) for index in ledgers), 3, method)


class Daemon(unittest.TestCase):
    def test_none(self) -> None:
        program = (
            "import musterd, time\nbefore = time.monotonic()\n"
            "with musterd.Agent('x', '/nonexistent/agent.sock') as agent:\n"
            "    for _ in range(1000):\n        with agent.request(): pass\n"
            "    agent.tokens('m', 1); agent.heartbeat()\n"
            "    assert agent.ledger.totals()[('agent_requests_total', (('status', 'success'),))] == 1000\n"
            "assert time.monotonic() - before < 0.4\n"
        )
        done = run(program)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_import_has_no_effects(self) -> None:
        program = "import threading, musterd; assert threading.active_count() == 1"
        self.assertEqual(run(program).returncode, 0)

    def test_waiting_costs_next_to_nothing(self) -> None:
        with Agent("x", "/nonexistent/agent.sock"):
            time.sleep(0.2)
            before = time.process_time()
            time.sleep(1.0)
            self.assertLess(time.process_time() - before, 0.02)

    def test_calls_of_models_and_tools(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "agent.sock")
            with Agent("caller", path) as agent:
                agent.llm_call("small", 1.5)
                agent.llm_call("small", 0.01)
                agent.tool_call("search", 2, "no such status")
                with FakeDaemon(path) as daemon:
                    wait_until(lambda: agent.connected)
                    agent.llm_call("small", 1e9)
                    agent.first_token("small", 0)
                    agent.tokens("small", input=7)
                    data = daemon.data()
                    found = {
                        (r.name, r.labels[0][1], r.labels[-1][1]): r
                        for r in reader.records(data)
                        if r.name in ledger.KNOWN
                    }
                    self.assertEqual(len(found), 3)
                    calls = found["agent_llm_request_duration_seconds", "small", "success"]
                    self.assertEqual(calls.sum, 1.5 + 0.01 + 1e9)
                    self.assertEqual([i for i, n in enumerate(calls.classic) if n], [0, 8, 14])
                    self.assertEqual((sum(calls.native), calls.native[-1], calls.zero), (3, 1, 0))
                    tool = found["agent_tool_duration_seconds", "search", "error"]
                    self.assertEqual((tool.sum, sum(tool.classic)), (2.0, 1))
                    first = found["agent_time_to_first_token_seconds", "small", "small"]
                    self.assertEqual((first.sum, first.zero, first.classic[0]), (0.0, 1, 1))
                    self.assertEqual(reader.counters(data, "agent_tokens_total"), {"small,input": 7})

    def test_comes_later(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "agent.sock")
            with Agent("late", path) as agent:
                finish(agent, 5)
                agent.tokens("small", input=7)
                agent.record("error", 2.0, "network")
                agent.heartbeat()
                with agent.request():
                    with FakeDaemon(path) as daemon:
                        wait_until(lambda: agent.connected)
                        data = daemon.data()
                        self.assertEqual(reader.in_flight(data), 1)
                        self.assertEqual(
                            reader.counters(data, "agent_requests_total"), {"success": 5, "error": 1}
                        )
                        self.assertEqual(reader.counters(data, "agent_tokens_total"), {"small,input": 7})
                        self.assertEqual(reader.counters(data, "agent_errors_total"), {"network": 1})
                        self.assertGreater(reader.word(data, 136), 0)
                        finish(agent, 2)
                        self.assertEqual(successes(daemon), 7)
                        self.assertEqual(reader.in_flight(daemon.data()), 1)
                    self.assertEqual(len(daemon.ledgers), 1)

    def test_dies_and_returns(self) -> None:
        with FakeDaemon() as daemon, Agent("steady", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            files = open_files()
            for round in range(5):
                finish(agent, 10)
                daemon.stop()
                wait_until(lambda: not agent.connected)
                finish(agent, 10)
                daemon.start()
                wait_until(lambda: agent.connected and daemon.peers)
                self.assertEqual(len(daemon.peers[0].fds), 1, "the ledger comes with the hello")
                self.assertEqual(
                    os.fstat(daemon.peers[0].fds[0]).st_ino, os.fstat(daemon.fds[0]).st_ino, "the same ledger"
                )
                self.assertEqual(successes(daemon), 20 * (round + 1))
            self.assertEqual(len(daemon.ledgers), 1)
            self.assertEqual(open_files(), files + 1, "what the daemon was sent is all that was opened")

    def test_returns_with_a_new_ledger(self) -> None:
        with FakeDaemon() as daemon, Agent("reborn", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            finish(agent, 3)
            daemon.behave = FakeDaemon.grant_new
            with agent.request():
                daemon.stop()
                wait_until(lambda: not agent.connected)
                daemon.start()
                wait_until(lambda: agent.connected)
                finish(agent, 4)
                agent.tokens("small", input=1)
            self.assertEqual(successes(daemon, 0), 4, "one begun in the old ledger ends there")
            self.assertEqual(successes(daemon, 1), 4)
            self.assertEqual(reader.in_flight(daemon.data(1)), 0)
            self.assertEqual(reader.counters(daemon.data(1), "agent_tokens_total"), {"small,input": 1})

    def test_durations_have_the_resolution_that_the_daemon_wants(self) -> None:
        gate = threading.Event()

        def grant(daemon: FakeDaemon, peer: Peer) -> None:
            gate.wait()
            daemon.grant(peer)

        with FakeDaemon(behave=grant) as daemon, Agent("sharp", daemon.path) as agent:
            daemon.duration_schema = 5
            agent.record("success", 2.0)
            with agent.request():
                gate.set()
                wait_until(lambda: agent.connected)
                agent.record("timeout", 1.0)
                self.assertEqual(reader.in_flight(daemon.data()), 1)
            agent.record("success", 1.0)
            found = reader.durations(daemon.data())
            self.assertEqual((found.schema, found.first, found.native_count), (5, -639, 1088))
            one, two = 639, 639 + 32  # the buckets that these seconds close
            self.assertEqual(found.native[one], 2, "counted in this resolution")
            self.assertEqual(
                found.native[two - 3 : two + 1], [0, 1, 0, 0], "counted in another, four times as wide"
            )
            self.assertEqual((found.zero + sum(found.native), sum(found.classic)), (4, 4))
            self.assertEqual(successes(daemon), 3)

            def again(schema: object) -> reader.Record:
                daemon.stop()
                wait_until(lambda: not agent.connected)
                daemon.duration_schema = schema
                daemon.start()
                wait_until(lambda: agent.connected)
                finish(agent, 1)
                return reader.durations(daemon.data())

            self.assertEqual(again(0).schema, 5, "of a ledger that comes back nothing changes")
            daemon.behave = FakeDaemon.grant_new
            found = again(None)
            self.assertEqual((found.schema, sum(found.classic)), (5, 1), "a new one goes on in the same")
            found = again(0)
            self.assertEqual((found.schema, found.native_count, sum(found.classic)), (0, 34, 1))
            self.assertEqual(len(daemon.ledgers), 3)

    @mock.patch("musterd.agent.LEDGERS_MAX", 1)
    def test_smaller_ledger_refuses_what_does_not_fit(self) -> None:
        gate = threading.Event()

        def grant(daemon: FakeDaemon, peer: Peer) -> None:
            gate.wait()
            daemon.grant(peer, 16384)

        with FakeDaemon(behave=grant) as daemon, Agent("wide", daemon.path) as agent:
            for i in range(60):
                agent.tokens(f"model-{i}", input=1, output=1)
            gate.set()
            wait_until(lambda: agent.connected)
            for i in range(60):
                agent.tokens(f"model-{i}", input=1)
            finish(agent, 1)
            tokens = reader.counters(daemon.data(), "agent_tokens_total")
            self.assertTrue(0 < len(tokens) < 120)
            self.assertEqual(reader.word(daemon.data(), 168), 120 - len(tokens))
            self.assertEqual(tokens["model-0,input"], 2)
            self.assertEqual(successes(daemon), 1)

    def test_no_thread_is_left_when_it_has_ended(self) -> None:
        """A subinterpreter that ends before its threads ends the process."""

        def say_nothing(_: FakeDaemon, peer: Peer) -> None:
            pass

        with FakeDaemon() as answering, FakeDaemon(behave=say_nothing) as silent:
            for path in ("/nonexistent/agent.sock", answering.path, silent.path):
                agent = Agent("ending", path)
                if path == answering.path:
                    wait_until(lambda: agent.connected)
                agent.close()
                self.assertNotIn("musterd", [thread.name for thread in threading.enumerate()], path)

    def test_no_thread_can_be_had_at_first(self) -> None:
        with FakeDaemon() as daemon:
            with mock.patch("threading.Thread.start", side_effect=RuntimeError("none")) as start:
                agent = Agent("crowded", daemon.path)
                finish(agent, 3)
                agent.tokens("small", input=1)
                self.assertEqual(start.call_count, 1, "not with every request")
            with mock.patch("time.monotonic", return_value=time.monotonic() + 1):
                finish(agent, 1)
            wait_until(lambda: agent.connected)
            finish(agent, 1)
            self.assertEqual(successes(daemon), 5)
            self.assertEqual(reader.in_flight(daemon.data()), 0)
            self.assertEqual(reader.counters(daemon.data(), "agent_tokens_total"), {"small,input": 1})
            self.assertEqual(len(agent.ledger.free), 128)
            agent.close()

    def test_no_thread_can_be_had_before_the_end(self) -> None:
        with FakeDaemon() as daemon:
            with mock.patch("threading.Thread.start", side_effect=RuntimeError("none")):
                agent = Agent("crowded", daemon.path)
                finish(agent, 3)
            agent.close()
            self.assertEqual(successes(daemon), 3)

    def test_refusal_for_good(self) -> None:
        def refuse(_: FakeDaemon, peer: Peer) -> None:
            peer.answer({"musterd": 1, "ok": False, "error": "no such agent", "retry": False})
            peer.socket.close()

        with FakeDaemon(behave=refuse) as daemon, Agent("unwanted", daemon.path) as agent:
            wait_until(lambda: daemon.peers)
            time.sleep(0.3)
            finish(agent, 3)
            self.assertEqual(len(daemon.peers), 1)

    def test_refusal_for_good_is_asked_about_again(self) -> None:
        def refuse_once(daemon: FakeDaemon, peer: Peer) -> None:
            if daemon.peers:
                daemon.grant(peer)
            else:
                time.sleep(0.02)  # longer than a connection that has settled
                peer.answer({"musterd": 1, "ok": False, "error": "not allowed", "retry": False})
                peer.socket.close()

        retry = 0.3
        with mock.patch.multiple("musterd.connection", REFUSED_RETRY=retry, SETTLED_SECONDS=0.01):
            begin = time.monotonic()
            with FakeDaemon(behave=refuse_once) as daemon, Agent("pardoned", daemon.path) as agent:
                finish(agent, 3)
                wait_until(lambda: agent.connected)
                self.assertGreaterEqual(time.monotonic() - begin, retry)
                self.assertEqual(successes(daemon), 3)

    def test_refusal_for_now(self) -> None:
        def refuse_once(daemon: FakeDaemon, peer: Peer) -> None:
            if daemon.peers:
                daemon.grant(peer)
            else:
                peer.answer({"musterd": 1, "ok": False, "error": "full", "retry": True})
                peer.socket.close()

        with FakeDaemon(behave=refuse_once) as daemon, Agent("patient", daemon.path) as agent:
            finish(agent, 3)
            wait_until(lambda: agent.connected)
            self.assertEqual(successes(daemon), 3)

    def test_close_sets_closed_and_ends_the_connection(self) -> None:
        with FakeDaemon() as daemon:
            agent = Agent("ending", daemon.path)
            wait_until(lambda: daemon.peers)
            agent.close()
            self.assertEqual(reader.word(daemon.data(), 144), 1)
            daemon.peers[0].socket.settimeout(5)
            self.assertEqual(daemon.peers[0].socket.recv(1), b"")
            agent.close()
            finish(agent, 200)
            agent.tokens("small", input=1)
            agent.record("error", 1.0)
            self.assertEqual(reader.counters(daemon.data(), "agent_requests_total"), {})


class HostileDaemon(unittest.TestCase):
    """Each answer is given once; then the daemon behaves, and nothing must have been lost."""

    def test_answers(self) -> None:
        ok = {"musterd": 1, "ok": True, "ledger": "new", "size": 262144}

        def with_fd(fd: int, answer: dict) -> tuple:
            return answer, [fd]

        def changed(offset: int, data: bytes) -> int:
            fd = make_ledger()
            os.pwrite(fd, data, offset)
            return fd

        read_end, write_end = os.pipe()
        os.close(write_end)
        answers = [
            (b"", []),
            (b"\n", []),
            (b"rubbish\n", []),
            (b"\xff\xfe\0\n", []),
            (b"[" * 4000 + b"\n", []),
            (b"x" * 10000, []),
            (b"[]\n", []),
            (b"null\n", []),
            (b'{"musterd":1,"ok":"yes"}\n', []),
            ({**ok, "musterd": 2}, []),
            (ok, []),
            ({**ok, "ledger": "resumed"}, []),
            ({**ok, "ledger": ["new"]}, []),
            with_fd(make_ledger(), {**ok, "size": "262144"}),
            with_fd(make_ledger(), {**ok, "size": -8}),
            with_fd(make_ledger(), {**ok, "size": 1 << 70}),
            with_fd(make_ledger(), {**ok, "size": 524288}),
            with_fd(make_ledger(4096 // 8), {**ok, "size": 512}),
            with_fd(make_ledger(4096), {**ok, "size": 4096}),
            with_fd(make_ledger(seal=False), ok),
            with_fd(read_end, ok),
            with_fd(os.open("/dev/null", os.O_RDONLY), ok),
            with_fd(changed(0, b"MUSTERDX"), ok),
            with_fd(changed(8, b"\2"), ok),
            with_fd(changed(16, b"\1"), ok),
            with_fd(changed(40, b"\1"), ok),
            with_fd(changed(64, b"\1"), ok),
            with_fd(changed(128, b"\0\0\0\1"), ok),
        ]
        for answer, fds in answers:
            with self.subTest(answer=answer):
                self.survive(answer, fds)

    def survive(self, answer: object, fds: list) -> None:
        def behave(daemon: FakeDaemon, peer: Peer) -> None:
            if daemon.peers:
                daemon.grant(peer)
            else:
                peer.answer(answer, fds)
                peer.socket.shutdown(socket.SHUT_RDWR)

        files = open_files()
        with FakeDaemon(behave=behave) as daemon, Agent("brave", daemon.path) as agent:
            finish(agent, 2)
            wait_until(lambda: agent.connected)
            finish(agent, 2)
            self.assertEqual(successes(daemon), 4)
            wait_until(lambda: len(daemon.peers) == 2)
        for fd in fds:
            os.close(fd)
        daemon.ledgers.clear()
        wait_until(lambda: open_files() <= files - len(fds))

    def test_more_descriptors_than_asked_for(self) -> None:
        def behave(daemon: FakeDaemon, peer: Peer) -> None:
            fd = make_ledger()
            peer.answer({"musterd": 1, "ok": True, "ledger": "new", "size": 262144}, [fd] * 20)
            os.close(fd)

        with FakeDaemon(behave=behave) as daemon, Agent("brave", daemon.path) as agent:
            wait_until(lambda: agent.connected)
            finish(agent, 1)
            wait_until(lambda: daemon.peers)

    def test_talks_when_it_should_be_silent(self) -> None:
        with FakeDaemon() as daemon, Agent("brave", daemon.path) as agent:
            wait_until(lambda: agent.connected and daemon.peers)
            daemon.peers[0].socket.sendall(b"x" * 1000)
            finish(agent, 5)
            wait_until(lambda: len(daemon.peers) == 2)
            finish(agent, 5)
            self.assertEqual(successes(daemon), 10)


if __name__ == "__main__":
    unittest.main()
