"""An agent: what a program uses to report its requests.

Joins the ledger, the requests and the connection. Nothing here raises into the program, prints, or
waits (but `close`, briefly). Importing has no effects: threads, fork and exit handlers come with the
first agent.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import weakref
from functools import partial
from time import monotonic, monotonic_ns
from types import TracebackType
from typing import Any, Callable, Dict, Sequence, Tuple, Type, TypeVar, Union

from . import layout
from .connection import Connection, hello_line, promise
from .errors import OTHER, TIMEOUT, Categories, Limited, status_of, text_of
from .ledger import FIRST_TOKEN, KNOWN, LLM_DURATION, NO_SLOT, REQUESTS, TOOL_DURATION, Ledger, Series
from .metrics import Counter, FractionCounter, Gauge, Histogram, Metric, declaration
from .request import Request, requests_of, tracked

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=Metric)

DEFAULT_SOCKET = "/run/musterd/agent.sock"
MODELS_MAX = 64
# What `close` may wait for: a daemon that the agent has not reached yet, and then the end of its threads.
FIRST_TRY_SECONDS, CLOSE_SECONDS = 0.4, 0.5
# As many as a daemon grants a process unless it is told otherwise.
LEDGERS_MAX = 4
FURTHER_RETRY_SECONDS = 60.0
# Among the finalizers of multiprocessing: after all that may still report.
CLOSED_LAST = -100
# Seconds: as nanoseconds, less than a word of a ledger holds.
LASTED_MAX = 9e9

_agents: weakref.WeakSet[Agent] = weakref.WeakSet()
_fork_hook_installed = False


class Agent:
    """Reports one agent's requests to musterd; without a daemon it counts on its own until one comes.

    One for each name in a process: every object has a ledger of its own, and a daemon grants a process
    only a few of one name.

    name: `MUSTERD_AGENT`, or the name of the script; 64 of `A-Z a-z 0-9 _ . -`, others become `_`
    socket: path; `MUSTERD_SOCKET`, or `/run/musterd/agent.sock`
    version, framework: the agent's own version and what it is built with
    heartbeat_seconds: promises a heartbeat at least this often
    automatic_heartbeat: keeps that promise from the background, for as long as no request has been
        in flight for longer than `heartbeat_seconds`
    """

    def __init__(
        self,
        name: str | None = None,
        socket: str | None = None,
        version: str | None = None,
        framework: str | None = None,
        heartbeat_seconds: float | None = None,
        *,
        automatic_heartbeat: bool = False,
    ) -> None:
        identity = Agent.identity(name, socket, version, framework, heartbeat_seconds)
        self.name, self._socket, self._hello = identity
        self.categories = Categories()
        self.request: Type[Request] = requests_of(self)
        self._heartbeat_seconds = promise(heartbeat_seconds) if automatic_heartbeat else None
        self._limit_model = Limited(MODELS_MAX)
        self._limit_tool = Limited(MODELS_MAX)
        self._declared = dict(KNOWN)
        self._metrics: Dict[str, Metric] = {}
        self._closed = False
        # What ends it with a process of multiprocessing.
        self._at_worker_end: Any = None
        self._begin_unconnected()
        self._wake()
        _remember(self)

    @staticmethod
    def identity(
        name: str | None,
        socket: str | None,
        version: str | None,
        framework: str | None,
        heartbeat_seconds: float | None,
    ) -> Tuple[str, str, bytes]:
        """The name and socket of an agent that is made with these, and the line by which it says hello."""
        name = text_of(name or os.environ.get("MUSTERD_AGENT") or _script_name())
        socket = _path(socket or os.environ.get("MUSTERD_SOCKET") or DEFAULT_SOCKET)
        return name, socket, hello_line(name, version, framework, heartbeat_seconds)

    def track(self, function: F) -> F:
        """Decorate a function, coroutine function or generator: each call is a request."""
        return tracked(function, self.request)

    def record(self, status: str, seconds: float, category: str | None = None) -> None:
        """Count a request that was timed elsewhere. An unknown status counts as `error`."""
        self._wake()
        seconds, ledger = _duration(seconds), self._ledger
        if status == "success" and seconds < LASTED_MAX and ledger.free:
            try:
                slot = ledger.free.pop()
            except IndexError:  # another thread has taken the last one
                pass
            else:  # a free slot, to end in the way of every request, which is the fastest
                self.request().record(slot, ledger, round(seconds * 1e9))
                return
        ledger.observe(seconds, self._amounts(status, category))

    def tokens(self, model: str, input: int = 0, output: int = 0) -> None:
        """Count tokens that a language model has read and written."""
        self._wake()
        model = self._limit_model(model)
        amounts: Dict[Union[int, Series], Union[int, float]] = {}
        for kind, count in (("input", input), ("output", output)):
            if isinstance(count, int) and 0 < count < 1 << 48:
                amounts["agent_tokens_total", (("model", model), ("type", kind))] = count
        if amounts:
            self._ledger.add(amounts)

    def llm_call(self, model: str, seconds: float, status: str = "success") -> None:
        """Count a call of a language model. An unknown status counts as `error`."""
        self._call(
            LLM_DURATION, (("model", self._limit_model(model)), ("outcome", _outcome(status))), seconds
        )

    def first_token(self, model: str, seconds: float) -> None:
        """Count how long it took until a model began to answer."""
        self._call(FIRST_TOKEN, (("model", self._limit_model(model)),), seconds)

    def tool_call(self, tool: str, seconds: float, status: str = "success") -> None:
        """Count a call of a tool. An unknown status counts as `error`."""
        self._call(TOOL_DURATION, (("tool", self._limit_tool(tool)), ("outcome", _outcome(status))), seconds)

    def _call(self, name: str, labels: Tuple[Tuple[str, str], ...], seconds: float) -> None:
        self._observe((name, labels), _duration(seconds))

    def counter(self, name: str, help: str = "", *, labels: Sequence[str] = (), unit: str = "") -> Counter:
        """Declare a counter of whole numbers of the agent's own. The first declaration of a name stands."""
        return self._declare(Counter, layout.COUNTER, name, help, labels, unit)

    def fraction_counter(
        self, name: str, help: str = "", *, labels: Sequence[str] = (), unit: str = ""
    ) -> FractionCounter:
        """Declare a counter of what need not be whole, such as seconds or money."""
        return self._declare(FractionCounter, layout.FRACTIONS, name, help, labels, unit)

    def gauge(self, name: str, help: str = "", *, labels: Sequence[str] = (), unit: str = "") -> Gauge:
        """Declare a gauge."""
        return self._declare(Gauge, layout.GAUGE, name, help, labels, unit)

    def histogram(
        self,
        name: str,
        help: str = "",
        *,
        labels: Sequence[str] = (),
        unit: str = "",
        buckets: Sequence[float] | None = None,
    ) -> Histogram:
        """Declare a histogram. `buckets`: upper bounds, at most 64; those for seconds unless given."""
        return self._declare(Histogram, layout.HISTOGRAM, name, help, labels, unit, buckets)

    def _declare(
        self,
        metric: Type[M],
        kind: int,
        name: str,
        help: str,
        labels: Sequence[str],
        unit: str,
        buckets: Sequence[float] | None = None,
    ) -> M:
        try:
            return self._declared_as(metric, kind, name, help, tuple(labels or ()), unit, buckets)
        except Exception:  # too long for a record, or nothing that a record could hold
            self._wake()
            self._ledger.refuse()
            return metric(None, "")

    def _declared_as(
        self,
        metric: Type[M],
        kind: int,
        name: str,
        help: str,
        labels: Tuple[str, ...],
        unit: str,
        buckets: Sequence[float] | None,
    ) -> M:
        known = self._metrics.get(name)
        if isinstance(known, metric):
            return known
        if known is not None or name in KNOWN:  # one name is one thing: this one counts nowhere
            return metric(None, name, labels)
        declared = declaration(kind, help, unit, buckets)
        layout.record(kind, name, dict.fromkeys(labels, ""), declared.shape, declared.help, declared.unit)
        self._declared[name] = declared
        made = metric(self, name, labels)
        self._metrics[name] = made
        return made

    def _add(self, series: Series, amount: Union[int, float]) -> None:
        self._wake()
        self._ledger.add({series: amount})

    def _set(self, series: Series, value: float) -> None:
        self._wake()
        self._ledger.set(series, value)

    def _observe(self, series: Series, value: float) -> None:
        self._wake()
        self._ledger.observe_in(series, value)

    def heartbeat(self) -> None:
        """Show that the agent is alive and at work. Requests do not show it by themselves."""
        self._wake()
        self._ledger.heartbeat()

    def close(self) -> None:
        """End on purpose. What is counted afterwards is not reported.

        A program that ends at once after it began may wait half a second here for its counts to
        reach the daemon; without a daemon it does not wait.
        """
        if self._closed:
            return
        atexit.unregister(self.close)
        _agents.discard(self)
        if self._at_worker_end is not None:
            self._at_worker_end.cancel()
        if self._connection.start_failed:
            self._wake(at_once=True)
        begin = monotonic()
        if not self._asleep:
            limit = begin + FIRST_TRY_SECONDS
            self._connection.wait_tried(FIRST_TRY_SECONDS)
            # More may come while those before are waited for: what finds no room there goes to them.
            for _, connection in self._more:
                connection.wait_tried(limit - monotonic())
        self._closed = True
        ended = [(self._ledger, self._connection), *self._more]
        for ledger, connection in ended:
            ledger.close()
            connection.stop()
        # A subinterpreter must not end before its threads.
        for _, connection in ended:
            connection.wait_ended(begin + CLOSE_SECONDS - monotonic())

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether it has been ended on purpose."""
        return self._closed

    @property
    def connected(self) -> bool:
        """Whether the daemon is there now."""
        return self._connection.connected

    @property
    def ledger(self) -> Ledger:
        """The ledger that counts now, to be read."""
        return self._ledger

    @property
    def ledgers(self) -> list[Ledger]:
        """All ledgers that count now; a series is in one of them."""
        return [self._ledger, *(ledger for ledger, _ in self._more)]

    def _begin_unconnected(self) -> None:
        self._ledger = Ledger(False, self._declared, partial(self._further, 0))
        # Ledgers that take what finds no room in the one before, each with a connection of its own.
        self._more: list[tuple[Ledger, Connection]] = []
        self._asleep = True
        self._wake_lock = threading.Lock()
        self._connection = Connection(
            self._socket,
            self._hello,
            self._ledger,
            partial(self._replace, 0),
            self._heartbeat_seconds / 3 if self._heartbeat_seconds else None,
            self._beat,
        )

    def _wake(self, at_once: bool = False) -> None:
        """Connect, at the first use in this process at which a thread can be had for it."""
        if self._asleep:
            with self._wake_lock:
                if self._asleep and (self._closed or self._connection.start(at_once)):
                    self._ledger.make_ready()
                    self._asleep = False
                    if not self._closed:
                        self._close_with_worker()

    def _close_with_worker(self) -> None:
        """Be closed when a process of multiprocessing ends: those run no exit handlers."""
        processes = sys.modules.get("multiprocessing.util")
        if processes is not None:
            self._at_worker_end = processes.Finalize(None, self.close, exitpriority=CLOSED_LAST)
            # A process that begins, and has imported us before, forgets what was to be done at its end.
            processes.register_after_fork(self, Agent._close_with_worker)

    def _begin_without_slot(self, ledger: Ledger) -> int:
        """Begin a request that found no slot: all are taken, or this is the first in this process."""
        if self._asleep:
            self._wake()
            try:
                return ledger.free.pop()
            except IndexError:
                pass
        ledger.add({layout.UNSLOTTED_BEGUN: 1})
        return NO_SLOT

    def _replace(self, place: int, ledger: Ledger) -> None:
        """Go on in another ledger. Requests in flight end in the old one, where nothing counts any more:
        the daemon has counted them as aborted."""
        if place == 0:
            self._ledger = ledger
        else:
            self._more[place - 1] = ledger, self._more[place - 1][1]

    def _further(self, place: int) -> Ledger | None:
        """The ledger after the one at `place`, whose turn the caller has; `None`: there may be no more."""
        if len(self._more) <= place:
            if self._closed or place + 1 >= LEDGERS_MAX:
                return None
            ledger = Ledger(True, self._declared, partial(self._further, place + 1))
            replace = partial(self._replace, place + 1)
            connection = Connection(
                self._socket, self._hello, ledger, replace, None, lambda: None, FURTHER_RETRY_SECONDS
            )
            self._more.append((ledger, connection))
        ledger, connection = self._more[place]
        connection.start()
        return ledger

    def _beat(self) -> None:
        if self._heartbeat_seconds:
            oldest = min(self._ledger.begun(), default=math.inf)
            if monotonic_ns() - oldest < self._heartbeat_seconds * 1e9:
                self._ledger.heartbeat()

    def _outcome_of(self, exception: BaseException | None) -> tuple[str, str | None]:
        if exception is None:
            return "success", None
        status = status_of(type(exception))
        return status, self.categories.of(exception) if status == "error" else None

    def _amounts(self, status: str, category: str | None) -> Dict[Union[int, Series], Union[int, float]]:
        """What a request that ended so adds, but for its duration."""
        status = _outcome(status)
        amounts: Dict[Union[int, Series], Union[int, float]] = {REQUESTS[status]: 1}
        if status in ("error", "timeout"):
            said = "" if category is None else text_of(category)
            category = self.categories.limited(said or (TIMEOUT if status == "timeout" else OTHER))
            amounts["agent_errors_total", (("category", category),)] = 1
        return amounts

    def _after_fork(self) -> None:
        """Leave the parent's ledger and connection to the parent."""
        for ledger, connection in [(self._ledger, self._connection), *self._more]:
            ledger.detach()
            connection.abandon()
        self._begin_unconnected()


def _duration(seconds: object) -> float:
    """`seconds`, or 0 for what is no duration: it must not spoil the sum for good."""
    known = layout.number(seconds)
    return known if known is not None and 0 <= known < math.inf else 0.0


def _outcome(status: object) -> str:
    return status if isinstance(status, str) and status in REQUESTS else "error"


def _path(socket: object) -> str:
    try:
        return os.fsdecode(socket)  # type: ignore[arg-type]
    except TypeError:  # no path: nobody will be there
        return text_of(socket)


def _script_name() -> str:
    script = sys.argv[0] if getattr(sys, "argv", None) else ""
    return os.path.splitext(os.path.basename(script))[0] or "python"


def _remember(agent: Agent) -> None:
    """Have the agent closed at exit, and told of a fork."""
    global _fork_hook_installed
    if not _fork_hook_installed:
        _fork_hook_installed = True
        os.register_at_fork(after_in_child=_after_fork_in_child)
    _agents.add(agent)
    atexit.register(agent.close)


def _after_fork_in_child() -> None:
    for agent in list(_agents):
        agent._after_fork()
