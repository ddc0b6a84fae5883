"""A base class for agents that only want to do their work.

Knows nothing of ledgers and connections but through `Agent`.
"""

from __future__ import annotations

import time
from time import monotonic_ns
from types import TracebackType
from typing import Any, Dict, Type

from .ledger import STATUSES, Series, requests_series
from .shared import shared_agent

HEARTBEAT_SECONDS = 30.0


class MetricsEnabledBaseAgent:
    """Subclasses implement `handle`; callers use `run`, and every run is counted and timed.

    `handle` may be an ordinary function or a coroutine function; `run` is then to be awaited.
    Heartbeats are sent for as long as no request has been running for longer than
    `heartbeat_seconds`. `self.agent` is there for all else, such as tokens.

    Objects with the same name, socket and options are one agent, which counts what all of them do.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        socket: str | None = None,
        version: str | None = None,
        framework: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._shared = shared_agent(name, socket, version, framework, heartbeat_seconds)
        self.agent = self._shared.agent
        self._closed = False
        self._began = time.monotonic()
        self._run = self.agent.track(self.handle)

    def handle(self, *args: Any, **kwargs: Any) -> Any:
        """Do one piece of work. To be implemented."""
        raise NotImplementedError(f"{type(self).__name__}.handle")

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call `handle` as one request."""
        return self._run(*args, **kwargs)

    def health(self) -> Dict[str, Any]:
        """A snapshot of this agent's own counters; times in seconds.

        They begin anew when the daemon has closed the books on the ledger before.
        """
        ledger = self.agent.ledger
        totals: Dict[Series, int] = {}
        for part in self.agent.ledgers:
            totals.update(part.totals())
        requests = {status: totals[requests_series(status)] for status in STATUSES}
        ended = sum(requests.values())
        begun = ledger.begun()
        return {
            "name": self.agent.name,
            "connected": self.agent.connected,
            "uptime_seconds": time.monotonic() - self._began,
            "requests": requests,
            "errors": {
                labels[0][1]: count
                for (name, labels), count in totals.items()
                if name == "agent_errors_total"
            },
            "success_rate": requests["success"] / ended if ended else None,
            "mean_seconds": ledger.seconds() / ended if ended else None,
            "in_flight": len(begun) + ledger.unslotted(),
            "oldest_request_seconds": (monotonic_ns() - min(begun)) * 1e-9 if begun else 0.0,
        }

    def close(self) -> None:
        """End on purpose: the agent ends with the last object that has it."""
        if not self._closed:
            self._closed = True
            self._shared.release()

    def __enter__(self) -> MetricsEnabledBaseAgent:
        return self

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
