"""One request: from its slot in the ledger to its outcome.

Knows nothing of connections. This is the path whose cost every request pays: what is not needed for
a request that simply succeeds stands in `_end_otherwise`.
"""

from __future__ import annotations

import functools
import inspect
from time import monotonic_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Type, TypeVar

from . import layout
from .errors import TIMEOUT
from .ledger import NO_SLOT, REQUESTS

if TYPE_CHECKING:
    from .agent import Agent

F = TypeVar("F", bound=Callable[..., Any])

_SUCCESS = REQUESTS["success"]


class Request:
    """A request in flight, for `with` and `async with`.

    Its status follows from the exception that leaves the block, unless one of the methods has said
    otherwise. The exception goes on unchanged.
    """

    __slots__ = ("_ledger", "_slot", "_begun", "_outcome")

    # Found on a class of the agent's own, so that making a request calls no Python function.
    agent: ClassVar[Agent]

    _outcome: tuple[str, str | None] | None

    def fail(self, category: str = "other") -> None:
        """End as `error`, in this category, although no exception is raised."""
        self._outcome = ("error", category)

    def timeout(self) -> None:
        """End as `timeout`."""
        self._outcome = ("timeout", TIMEOUT)

    def cancel(self) -> None:
        """End as `cancelled`."""
        self._outcome = ("cancelled", None)

    def __enter__(self) -> Request:
        self._ledger = ledger = self.agent._ledger
        self._outcome = None
        try:
            self._slot = slot = ledger.free.pop()
        except IndexError:
            self._slot = slot = self.agent._begin_without_slot(ledger)
        words = ledger.words
        self._begun = begun = monotonic_ns()
        if slot:
            words[slot] = begun
            if ledger.words is not words:  # the daemon's memory has come in between
                ledger.words[slot] = begun
        return self

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        slot = self._slot
        try:
            seconds = (monotonic_ns() - self._begun) * 1e-9
            if slot and kind is None and self._outcome is None:
                self._ledger.end(slot, _SUCCESS, seconds)
            else:
                self._end_otherwise(exception, seconds)
        except BaseException:  # raised by a signal handler
            if slot and self._ledger.words[slot] == self._begun:
                self._end_otherwise(exception, (monotonic_ns() - self._begun) * 1e-9)
            raise

    async def __aenter__(self) -> Request:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, exception, traceback)

    def _end_otherwise(self, exception: BaseException | None, seconds: float) -> None:
        agent, slot = self.agent, self._slot
        status, category = self._outcome or agent._outcome_of(exception)
        amounts = agent._amounts(status, category)
        if slot == NO_SLOT:
            amounts[layout.UNSLOTTED_ENDED] = 1
        self._ledger.observe(seconds, amounts, slot)


def requests_of(owner: Agent) -> Type[Request]:
    """The class of the requests of one agent."""

    class AgentRequest(Request):
        __slots__ = ()
        agent = owner

    return AgentRequest


def tracked(function: F, request: Type[Request]) -> F:
    """Make each call of `function` a request. A generator is in flight until it is exhausted or closed."""
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                return await function(*args, **kwargs)

    elif inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                items = function(*args, **kwargs)
                try:
                    async for item in items:
                        yield item
                finally:
                    await items.aclose()

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                return (yield from function(*args, **kwargs))

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                return function(*args, **kwargs)

    return wrapper  # type: ignore[no-any-return]
