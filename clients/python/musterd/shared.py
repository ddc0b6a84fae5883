"""One agent for all objects of one name in a process: a daemon grants it only a few ledgers of that name.

Knows nothing of ledgers and connections but through `Agent`.
"""

from __future__ import annotations

import os
import threading
from typing import Dict, Tuple

from .agent import Agent

_Key = Tuple[str, str, bytes]

_shared: Dict[_Key, SharedAgent] = {}
# A signal handler may make an object while one is being made.
_lock = threading.RLock()
_fork_hook_installed = False


class SharedAgent:
    """An agent and the number of its holders: it ends with the last of them."""

    __slots__ = ("agent", "_key", "_holders")

    def __init__(self, agent: Agent, key: _Key) -> None:
        self.agent = agent
        self._key = key
        self._holders = 0

    def release(self) -> None:
        """Let go of the agent. Every holder does this once."""
        with _lock:
            self._holders -= 1
            if self._holders:
                return
            if _shared.get(self._key) is self:
                del _shared[self._key]
        self.agent.close()


def shared_agent(
    name: str | None,
    socket: str | None,
    version: str | None,
    framework: str | None,
    heartbeat_seconds: float | None,
) -> SharedAgent:
    """The agent with this name, socket and options, which sends heartbeats by itself; made if there is none."""
    key = Agent.identity(name, socket, version, framework, heartbeat_seconds)
    with _lock:
        _install_fork_hook()
        shared = _shared.get(key)
        if shared is None or shared.agent.closed:
            agent = Agent(name, socket, version, framework, heartbeat_seconds, automatic_heartbeat=True)
            shared = _shared[key] = SharedAgent(agent, key)
        shared._holders += 1
        return shared


def _install_fork_hook() -> None:
    global _fork_hook_installed
    if not _fork_hook_installed:
        _fork_hook_installed = True
        os.register_at_fork(after_in_child=_renew_lock)


def _renew_lock() -> None:
    """In a forked child, where the thread that has the lock may not be."""
    global _lock
    _lock = threading.RLock()
