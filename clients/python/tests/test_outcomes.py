"""What requests and exceptions become, in the ledger of a daemon."""

import asyncio
import concurrent.futures
import gc
import inspect
import json
import socket
import unittest
import urllib.error
import warnings
from typing import Any

from musterd import Agent, MetricsEnabledBaseAgent, layout

from . import reader
from .daemon import FakeDaemon, Mute, wait_until


class Outcomes(unittest.TestCase):
    def setUp(self) -> None:
        self.daemon = FakeDaemon()
        self.agent = Agent("tester", self.daemon.path)
        wait_until(lambda: self.agent.connected)

    def tearDown(self) -> None:
        self.agent.close()
        self.daemon.close()

    def requests(self) -> dict:
        return reader.counters(self.daemon.data(), "agent_requests_total")

    def errors(self) -> dict:
        return reader.counters(self.daemon.data(), "agent_errors_total")

    def raise_in_request(self, exception: BaseException) -> None:
        try:
            with self.agent.request():
                raise exception
        except BaseException as caught:
            self.assertIs(caught, exception)
        else:
            self.fail("the exception did not go on")

    def test_success(self) -> None:
        with self.agent.request():
            self.assertEqual(reader.in_flight(self.daemon.data()), 1)
        self.assertEqual(reader.in_flight(self.daemon.data()), 0)
        self.assertEqual(self.requests(), {"success": 1})
        self.assertEqual(self.errors(), {})
        durations = reader.durations(self.daemon.data())
        self.assertEqual(sum(durations.classic), 1)
        self.assertEqual(durations.zero + sum(durations.native), 1)
        self.assertGreater(durations.sum, 0)

    def test_exceptions(self) -> None:
        class RateLimitError(Exception):
            pass

        class WithStatus(Exception):
            def __init__(self, code: int) -> None:
                self.status_code = code

        class Broken(Exception):
            @property
            def status_code(self) -> int:
                raise RuntimeError

        class TimeoutExceeded(TimeoutError):
            pass

        cases = [
            (TimeoutError(), "timeout", "timeout"),
            (TimeoutExceeded(), "timeout", "timeout"),
            (asyncio.TimeoutError(), "timeout", "timeout"),
            (concurrent.futures.TimeoutError(), "timeout", "timeout"),
            (socket.timeout(), "timeout", "timeout"),
            (asyncio.CancelledError(), "cancelled", None),
            (concurrent.futures.CancelledError(), "cancelled", None),
            (KeyboardInterrupt(), "cancelled", None),
            (GeneratorExit(), "cancelled", None),
            (ConnectionRefusedError(), "error", "network"),
            (urllib.error.URLError("x"), "error", "network"),
            (socket.gaierror(), "error", "network"),
            (PermissionError(), "error", "permission"),
            (FileNotFoundError(), "error", "not_found"),
            (ValueError(), "error", "validation"),
            (json.JSONDecodeError("x", "", 0), "error", "validation"),
            (MemoryError(), "error", "memory"),
            (KeyError(), "error", "lookup"),
            (RateLimitError(), "error", "rate_limit"),
            (WithStatus(429), "error", "rate_limit"),
            (WithStatus(404), "error", "not_found"),
            (WithStatus(503), "error", "server"),
            (WithStatus(200), "error", "other"),
            (Broken(), "error", "other"),
            (SystemExit(1), "error", "other"),
            (RuntimeError(), "error", "other"),
        ]
        for exception, status, category in cases:
            requests, errors = self.requests(), self.errors()
            requests[status] = requests.get(status, 0) + 1
            if category:
                errors[category] = errors.get(category, 0) + 1
            self.raise_in_request(exception)
            self.assertEqual(self.requests(), requests, exception)
            self.assertEqual(self.errors(), errors, exception)
        self.assertEqual(reader.in_flight(self.daemon.data()), 0)

    def test_own_categories_come_first(self) -> None:
        self.agent.categories[ConnectionError] = "bank"
        self.agent.categories["KeyError"] = "ledger"
        self.raise_in_request(ConnectionResetError())
        self.raise_in_request(KeyError())
        self.assertEqual(self.errors(), {"bank": 1, "ledger": 1})

    def test_categories_are_bounded(self) -> None:
        for i in range(200):
            self.agent.record("error", 0.1, f"category{i}")
        errors = self.errors()
        self.assertEqual(len(errors), 31)
        self.assertEqual(errors["overflow"], 170)

    def test_said_without_an_exception(self) -> None:
        with self.agent.request() as request:
            request.fail("validation")
        with self.agent.request() as request:
            request.cancel()
        with self.agent.request() as request:
            request.timeout()
        self.assertEqual(self.requests(), {"error": 1, "cancelled": 1, "timeout": 1})
        self.assertEqual(self.errors(), {"validation": 1, "timeout": 1})

    def test_said_of_one_request_alone(self) -> None:
        request = self.agent.request()
        request.fail("too early")
        with request:
            request.cancel()
        with request:
            pass
        with self.assertRaises(KeyError), request:
            raise KeyError
        request.fail("too late")
        with self.assertRaises(KeyError), request:
            raise KeyError
        self.assertEqual(self.requests(), {"cancelled": 1, "success": 1, "error": 2})
        self.assertEqual(self.errors(), {"lookup": 2})

    def test_ended_once(self) -> None:
        free = len(self.agent.ledger.free)
        request = self.agent.request().begin()
        for _ in range(3):
            request.end()
        request.fail("too late")
        request.end()
        with self.agent.request() as request:
            request.end()
        with self.assertRaises(KeyError), self.agent.request() as request:
            request.end()
            raise KeyError
        self.assertEqual((self.requests(), self.errors()), ({"success": 3}, {}))
        self.assertEqual(len(self.agent.ledger.free), free)
        self.assertEqual(len(set(self.agent.ledger.free)), free, "no slot is there twice")

    def test_ended_once_without_a_slot(self) -> None:
        others = [self.agent.request().begin() for _ in range(layout.SLOT_COUNT)]
        request = self.agent.request().begin()
        for _ in range(3):
            request.end()
        self.assertEqual(reader.in_flight(self.daemon.data()), len(others))
        for other in others:
            other.end()
        self.assertEqual(self.requests(), {"success": len(others) + 1})

    def test_ended_before_it_begins(self) -> None:
        request = self.agent.request()
        request.end()
        request.fail("too early")
        request.end(KeyError, KeyError())
        self.assertEqual(self.requests(), {})
        with request:
            pass
        self.assertEqual(self.requests(), {"success": 1})

    def test_said_of_a_request_without_a_slot(self) -> None:
        others = [self.agent.request().begin() for _ in range(layout.SLOT_COUNT)]
        request = self.agent.request()
        for said in (True, False):
            with request:
                if said:
                    request.fail("validation")
        self.assertEqual(reader.in_flight(self.daemon.data()), len(others))
        for other in others:
            other.end()
        self.assertEqual(self.requests(), {"error": 1, "success": len(others) + 1})
        self.assertEqual(reader.in_flight(self.daemon.data()), 0)

    def test_record(self) -> None:
        self.agent.record("success", 2.0)
        self.agent.record("timeout", 4.0)
        self.agent.record("nonsense", float("nan"), "x" * 300)
        self.agent.record("success", "late")  # type: ignore[arg-type]
        self.assertEqual(self.requests(), {"success": 2, "timeout": 1, "error": 1})
        self.assertEqual(self.errors(), {"timeout": 1, "overflow": 1})
        self.assertEqual(reader.durations(self.daemon.data()).sum, 6.0)
        free = len(self.agent.ledger.free)
        for seconds in (9e9, 9.3e9, 1e300, 10**400):
            self.agent.record("success", seconds)
            self.agent.llm_call("small", seconds)
        self.assertEqual(self.requests()["success"], 6)
        self.assertEqual(len(self.agent.ledger.free), free)

    def test_what_is_of_no_such_type_raises_nothing(self) -> None:
        agent: Any = self.agent
        agent.record([], 1)
        agent.record("error", 1, Mute())
        with agent.request() as request:
            request.fail(Mute())
        self.assertEqual((self.requests(), self.errors()), ({"error": 3}, {"other": 1, "?": 2}))
        agent.llm_call(Mute(), 1, status=[])
        agent.tool_call(None, None, status=None)
        agent.tokens(Mute(), 1)
        self.assertEqual(reader.counters(self.daemon.data(), "agent_tokens_total"), {"?,input": 1})
        for wrong in (Mute(), [], 5):
            with Agent(wrong, wrong, wrong, wrong, wrong), MetricsEnabledBaseAgent(wrong, socket=wrong):
                pass

    def test_categories_that_are_the_same_in_a_ledger_are_one(self) -> None:
        for number in range(3):
            self.agent.record("error", 1, "x" * 256 + str(number))
            self.agent.record("error", 1, "\ud800" if number else "?")
        self.assertEqual(self.errors(), {"overflow": 3, "?": 3})

    def test_tokens(self) -> None:
        self.agent.tokens("small", input=10, output=3)
        self.agent.tokens("small", output=4)
        self.agent.tokens("small", input=-1, output="many")  # type: ignore[arg-type]
        tokens = reader.counters(self.daemon.data(), "agent_tokens_total")
        self.assertEqual(tokens, {"small,input": 10, "small,output": 7})

    def test_heartbeat(self) -> None:
        self.assertEqual(reader.word(self.daemon.data(), 136), 0)
        self.agent.heartbeat()
        self.assertGreater(reader.word(self.daemon.data(), 136), 0)

    def test_tracked_functions(self) -> None:
        @self.agent.track
        def add(a: int, b: int = 1) -> int:
            """Add."""
            return a + b

        @self.agent.track
        async def wait(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        @self.agent.track
        def count(n: int):
            yield from range(n)
            return n

        @self.agent.track
        async def count_later(n: int):
            for i in range(n):
                yield i

        async def collect() -> list:
            return [i async for i in count_later(3)]

        self.assertEqual(add(1, b=2), 3)
        self.assertEqual((add.__name__, add.__doc__), ("add", "Add."))
        self.assertEqual(asyncio.run(wait(0)), 0)
        self.assertEqual(list(count(3)), [0, 1, 2])
        self.assertEqual(asyncio.run(collect()), [0, 1, 2])
        self.assertEqual(self.requests(), {"success": 4})
        items = count(3)
        next(items)
        items.close()
        self.assertEqual(self.requests(), {"success": 4, "cancelled": 1})

    def test_tracked_objects_that_are_called_like_a_coroutine_function(self) -> None:
        class Tool:
            async def __call__(self, seconds: float) -> float:
                await asyncio.sleep(seconds)
                if not seconds:
                    raise ValueError
                return seconds

        class Numbers:
            def __call__(self, n: int):
                yield from range(n)

        class Later:
            async def __call__(self, n: int):
                for i in range(n):
                    yield i

        async def collect() -> list:
            return [i async for i in self.agent.track(Later())(3)]

        tool = self.agent.track(Tool())
        self.assertTrue(inspect.iscoroutinefunction(tool))
        self.assertEqual(asyncio.run(tool(0.02)), 0.02)
        self.assertGreaterEqual(reader.durations(self.daemon.data()).sum, 0.02)
        with self.assertRaises(ValueError):
            asyncio.run(tool(0))
        self.assertEqual(list(self.agent.track(Numbers())(3)), [0, 1, 2])
        self.assertEqual(asyncio.run(collect()), [0, 1, 2])
        self.assertEqual(self.requests(), {"success": 3, "error": 1})

    def test_tracked_functions_that_return_a_coroutine(self) -> None:
        async def work(seconds: float) -> float:
            await asyncio.sleep(seconds)
            if not seconds:
                raise ValueError
            return seconds

        @self.agent.track
        def start(seconds: float):
            return work(seconds)

        async def cancel() -> None:
            task = asyncio.ensure_future(start(60))
            await asyncio.sleep(0)
            task.cancel()
            await task

        coroutine = start(0.02)
        self.assertEqual(coroutine.__qualname__, work.__qualname__)
        self.assertEqual(self.requests(), {}, "nothing has run yet")
        self.assertEqual(reader.in_flight(self.daemon.data()), 1)
        self.assertEqual(asyncio.run(coroutine), 0.02)
        self.assertGreaterEqual(reader.durations(self.daemon.data()).sum, 0.02)
        with self.assertRaises(ValueError):
            asyncio.run(start(0))
        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(cancel())
        self.assertEqual(self.requests(), {"success": 1, "error": 1, "cancelled": 1})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start(60)
            gc.collect()
            said = [str(warning.message) for warning in caught]
            caught.clear()  # warnings keep the coroutine
        self.assertEqual(said, [f"coroutine '{work.__qualname__}' was never awaited"])
        self.assertEqual(self.requests(), {"success": 1, "error": 1, "cancelled": 2})
        others = [self.agent.request().begin() for _ in range(layout.SLOT_COUNT)]
        self.assertEqual(asyncio.run(start(0.001)), 0.001)
        self.assertEqual(reader.in_flight(self.daemon.data()), len(others))
        for other in others:
            other.end()
        self.assertEqual(len(self.agent.ledger.free), layout.SLOT_COUNT)

    def test_tracked_asynchronous_generators_take_what_is_sent_and_thrown(self) -> None:
        heard: list = []

        @self.agent.track
        async def talk():
            while True:
                try:
                    heard.append((yield len(heard)))
                except KeyError as exception:
                    heard.append(exception)

        async def use() -> None:
            items = talk()
            self.assertEqual(await items.asend(None), 0)
            self.assertEqual(await items.asend("a"), 1)
            thrown = KeyError("b")
            self.assertEqual(await items.athrow(thrown), 2)
            self.assertEqual(heard, ["a", thrown])
            with self.assertRaises(OSError):
                await items.athrow(OSError())
            early = talk()
            await early.__anext__()
            await early.aclose()

        asyncio.run(use())
        self.assertEqual(self.requests(), {"error": 1, "cancelled": 1})

    def test_more_tasks_in_flight_than_slots(self) -> None:
        async def run() -> None:
            gate = asyncio.Event()

            async def one(i: int) -> None:
                async with self.agent.request():
                    await gate.wait()
                    if i % 10 == 0:
                        raise ValueError

            tasks = [asyncio.ensure_future(one(i)) for i in range(300)]
            await asyncio.sleep(0)
            data = self.daemon.data()
            self.assertEqual(reader.in_flight(data), 300)
            self.assertEqual((reader.word(data, 152), reader.word(data, 160)), (172, 0))
            tasks[1].cancel()
            gate.set()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(run())
        self.assertEqual(reader.in_flight(self.daemon.data()), 0)
        self.assertEqual(reader.word(self.daemon.data(), 160), 172)
        self.assertEqual(self.requests(), {"success": 269, "error": 30, "cancelled": 1})
        self.assertEqual(sum(reader.durations(self.daemon.data()).classic), 300)

    def test_base_class(self) -> None:
        class Halver(MetricsEnabledBaseAgent):
            def handle(self, number: int) -> int:
                if number % 2:
                    raise ValueError("odd")
                return number // 2

        class Sleeper(MetricsEnabledBaseAgent):
            async def handle(self) -> str:
                await asyncio.sleep(0)
                return "awake"

        with Halver("halver", socket=self.daemon.path) as halver:
            wait_until(lambda: halver.agent.connected and len(self.daemon.peers) == 2)
            data = self.daemon.data()
            self.assertEqual(self.daemon.peers[-1].hello["heartbeat_seconds"], 30.0)
            self.assertEqual(halver.run(4), 2)
            with self.assertRaises(ValueError):
                halver.run(3)
            health = halver.health()
            self.assertEqual(health["requests"], {"success": 1, "error": 1, "timeout": 0, "cancelled": 0})
            self.assertEqual(health["errors"], {"validation": 1})
            self.assertEqual((health["success_rate"], health["in_flight"]), (0.5, 0))
            self.assertTrue(health["connected"])
            wait_until(lambda: reader.word(self.daemon.data(), 136))
            json.dumps(health)
        self.assertEqual(reader.word(data, 144), 0)
        self.assertEqual(reader.word(self.daemon.data(), 144), 1)
        with Sleeper("sleeper", socket=self.daemon.path) as sleeper:
            self.assertEqual(asyncio.run(sleeper.run()), "awake")
            self.assertEqual(sleeper.health()["requests"]["success"], 1)

    def test_objects_of_one_name_are_one_agent(self) -> None:
        class Echo(MetricsEnabledBaseAgent):
            def handle(self, text: str) -> str:
                return text

        crew = [Echo("crew", socket=self.daemon.path) for _ in range(10)]
        other = Echo("crew", socket=self.daemon.path, version="2")
        self.assertEqual(len({member.agent for member in crew}), 1)
        self.assertIsNot(other.agent, crew[0].agent)
        wait_until(lambda: other.agent.connected and crew[0].agent.connected)
        crew_ledger = [peer.hello.get("version") for peer in self.daemon.peers].index(None, 1)
        for member in crew:
            member.run("hello")
        for member in crew[1:]:
            member.close()
            member.close()
        self.assertFalse(crew[0].agent.closed)
        crew[0].run("still here")
        self.assertEqual(crew[0].health()["requests"]["success"], 11)
        data = self.daemon.data(crew_ledger)
        self.assertEqual(reader.counters(data, "agent_requests_total"), {"success": 11})
        crew[0].close()
        self.assertEqual(reader.word(self.daemon.data(crew_ledger), 144), 1)
        with Echo("crew", socket=self.daemon.path) as again:
            self.assertIsNot(again.agent, crew[0].agent)
            again.agent.close()
            with Echo("crew", socket=self.daemon.path) as successor:
                self.assertFalse(successor.agent.closed, "one that was ended behind its back is not shared")
        other.close()

    def test_automatic_heartbeat_stops_when_a_request_is_stuck(self) -> None:
        class Waiter(MetricsEnabledBaseAgent):
            pass

        with Waiter("waiter", socket=self.daemon.path, heartbeat_seconds=0.06) as waiter:
            wait_until(lambda: waiter.agent.connected)
            with waiter.agent.request():
                wait_until(lambda: waiter.health()["oldest_request_seconds"] > 0.1)
                before = reader.word(self.daemon.data(), 136)
                wait_until(lambda: waiter.health()["oldest_request_seconds"] > 0.2)
                self.assertEqual(reader.word(self.daemon.data(), 136), before)
            wait_until(lambda: reader.word(self.daemon.data(), 136) > before)


if __name__ == "__main__":
    unittest.main()
