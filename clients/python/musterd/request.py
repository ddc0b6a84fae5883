"""One request: from its slot in the ledger to its outcome.

Knows nothing of connections. `requests_of` has the path whose cost every request pays: what is not
needed for a request that simply succeeds stands in `_end_otherwise`.
"""

from __future__ import annotations

import functools
import inspect
from bisect import bisect_left
from time import monotonic_ns
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Type, TypeVar

from . import layout
from .durations import LONG, LONG_END, LONGER, LONGER_END, SHORT, SHORT_END
from .errors import TIMEOUT
from .layout import JOURNAL_COUNT
from .ledger import END_OF, END_OFFSET, NO_SLOT, SUCCESS, SUCCESS_OFFSET, Ledger, write_end

if TYPE_CHECKING:
    from .agent import Agent

F = TypeVar("F", bound=Callable[..., Any])


class Request:
    """A request in flight, for `with` and `async with`.

    Its status follows from the exception that leaves the block, unless one of the methods has said
    otherwise. The exception goes on unchanged.
    """

    __slots__ = ("_ledger", "_slot", "_taken", "_begun", "_outcome")

    # Found on a class of the agent's own, so that making a request calls no Python function.
    agent: ClassVar[Agent]

    # When it began, and 0 once it has ended.
    _begun: int
    # The slot that it has, for as long as it will end as the exception says, if there is one. Otherwise
    # `_outcome` counts, and the slot is in `_taken`.
    _slot: int
    _taken: int
    _outcome: tuple[str, str | None] | None

    def fail(self, category: str = "other") -> None:
        """End as `error`, in this category, although no exception is raised."""
        self._end_as("error", category)

    def timeout(self) -> None:
        """End as `timeout`."""
        self._end_as("timeout", TIMEOUT)

    def cancel(self) -> None:
        """End as `cancelled`."""
        self._end_as("cancelled", None)

    def _end_as(self, status: str, category: str | None) -> None:
        self._outcome = (status, category)
        # Another thread may end it meanwhile, which looks into `_taken` when it finds no slot.
        slot = getattr(self, "_slot", NO_SLOT)
        if slot:
            self._taken = slot
            self._slot = NO_SLOT

    def begin(self) -> Request:
        """Begin, where no `with` fits: the end is in another function, or in another thread."""
        raise NotImplementedError  # in the class of each agent, see `requests_of`

    def end(
        self,
        kind: Type[BaseException] | None = None,
        exception: BaseException | None = None,
        traceback: TracebackType | None = None,
        lasted: int | None = None,
    ) -> None:
        """End as the exception says, if there is one. It lasted until now, or so many nanoseconds.

        Of what is not in flight, since it has ended or has not begun, nothing is counted.
        """
        raise NotImplementedError

    def __enter__(self) -> Request:
        return self.begin()

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(kind, exception, traceback)

    def handed_on(self) -> Request:
        """The same request as another object, by which alone it ends from now on."""
        other = type(self)()
        other._ledger, other._slot, other._begun = self._ledger, self._slot, self._begun
        if not other._slot:
            other._taken, other._outcome = self._taken, self._outcome
        self._begun = 0
        return other

    def record(self, slot: int, ledger: Ledger, lasted: int) -> None:
        """Count a request that was timed elsewhere, as if it had been in `slot`, which is free."""
        self._ledger, self._slot, self._begun = ledger, slot, -1
        self.end(lasted=lasted)

    async def __aenter__(self) -> Request:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, exception, traceback)

    def _end_otherwise(self, exception: BaseException | None, lasted: int) -> None:
        agent, slot, said = self.agent, self._slot, None
        if not slot:
            slot, said = self._taken, self._outcome
        status, category = said or agent._outcome_of(exception)
        amounts = agent._amounts(status, category)
        if slot == NO_SLOT:
            amounts[layout.UNSLOTTED_ENDED] = 1
        self._ledger.observe(lasted * 1e-9, amounts, slot)


def requests_of(owner: Agent) -> Type[Request]:
    """The class of the requests of one agent."""

    class AgentRequest(Request):
        """What every request pays for: few steps, and few of them calls."""

        __slots__ = ()
        agent = owner

        def begin(self) -> Request:
            self._ledger = ledger = owner._ledger
            try:
                self._slot = slot = ledger.free.pop()
            except IndexError:
                self._slot = self._taken = slot = owner._begin_without_slot(ledger)
                self._outcome = None
            words = ledger.words
            self._begun = begun = monotonic_ns()
            if slot:
                words[slot] = begun
                if ledger.words is not words:  # the daemon's memory has come in between
                    ledger.words[slot] = begun
            return self

        def end(
            self,
            kind: Type[BaseException] | None = None,
            exception: BaseException | None = None,
            traceback: TracebackType | None = None,
            lasted: int | None = None,
        ) -> None:
            begun = 0
            try:
                try:
                    begun = self._begun
                except AttributeError:
                    return
                if not begun:
                    return
                # Nothing has been called since, so that from CPython 3.10 on no other thread has run.
                self._begun = 0
                slot = self._slot
                if lasted is None:
                    lasted = monotonic_ns() - begun
                if not slot or kind is not None:
                    self._end_otherwise(exception, lasted)
                    return
                ledger = self._ledger
                try:
                    del ledger.turn
                except AttributeError:
                    self._end_otherwise(exception, lasted)
                    return
                try:
                    # Not before we have the turn: until then another memory and resolution may come.
                    words, floats, values, free, queue, slices, cuts, cells, sum, sum_offset = ledger.hands
                    if lasted < SHORT_END:
                        cell = slices[0][lasted >> SHORT]
                    elif lasted < LONGER_END:
                        cell = slices[1][lasted >> LONGER]
                    elif lasted < LONG_END:
                        cell = slices[2][lasted >> LONG]
                    else:
                        cell = bisect_left(cuts, lasted)
                    while cuts[cell] < lasted:
                        cell += 1
                    native_offset, native, classic_offset, classic = cells[cell]
                    write_end(
                        words, END_OFFSET,
                        classic_offset, classics := values[classic] + 1,
                        native_offset, natives := values[native] + 1,
                        sum_offset, total := values[sum] + lasted * 1e-9,
                        SUCCESS_OFFSET, successes := values[SUCCESS] + 1,
                        END_OF[slot],
                    )  # fmt: skip
                    values[classic] = words[classic] = classics
                    values[native] = words[native] = natives
                    values[sum] = floats[sum] = total
                    values[SUCCESS] = words[SUCCESS] = successes
                    words[slot] = 0
                    words[JOURNAL_COUNT] = 0
                except BaseException:  # raised by a signal handler
                    ledger.finish()
                    raise
                finally:
                    ledger.turn = None
                free.append(slot)
                if queue:
                    ledger.drain()
            except BaseException:  # raised by a signal handler
                if begun:
                    self._begun = 0
                    taken = self._slot or self._taken
                    if taken and self._ledger.words[taken] == begun:
                        self._end_otherwise(exception, monotonic_ns() - begun)
                raise

        __enter__ = begin
        __exit__ = end

    return AgentRequest


def tracked(function: F, request: Type[Request]) -> F:
    """Make each call of `function` a request. A generator is in flight until it is exhausted or closed, and a
    coroutine that an ordinary function returns until it has been awaited."""
    wrapper: Any
    if _is(inspect.iscoroutinefunction, function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                return await function(*args, **kwargs)

    elif _is(inspect.isasyncgenfunction, function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                items = function(*args, **kwargs)
                step = items.__anext__()
                try:
                    while True:
                        try:
                            item = await step
                        except StopAsyncIteration:
                            return
                        # What is sent or thrown is the function's, as with `yield from`.
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as thrown:
                            step = items.athrow(thrown)
                        else:
                            step = items.asend(sent)
                finally:
                    await items.aclose()

    elif _is(inspect.isgeneratorfunction, function):

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request():
                return (yield from function(*args, **kwargs))

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with request() as begun:
                result = function(*args, **kwargs)
                if type(result) is CoroutineType:
                    return _awaited(result, begun.handed_on())
                return result

    return wrapper  # type: ignore[no-any-return]


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether `function` is of this kind, or an object that is called like one."""
    return kind(function) or kind(getattr(type(function), "__call__", None))


def _awaited(coroutine: CoroutineType[Any, Any, Any], request: Request) -> CoroutineType[Any, Any, Any]:
    """`coroutine`, with whose end `request` ends."""
    made: Any = _await(_Awaited(coroutine, request))
    made.__name__, made.__qualname__ = coroutine.__name__, coroutine.__qualname__
    return made  # type: ignore[no-any-return]


async def _await(awaited: _Awaited) -> Any:
    with awaited as coroutine:
        return await coroutine


class _Awaited:
    """A coroutine and its request, which ends as `cancelled` if the coroutine is thrown away unawaited."""

    __slots__ = ("_coroutine", "_request")

    def __init__(self, coroutine: CoroutineType[Any, Any, Any], request: Request) -> None:
        self._coroutine = coroutine
        self._request = request

    def __enter__(self) -> CoroutineType[Any, Any, Any]:
        return self._coroutine

    def __exit__(
        self,
        kind: Type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._request.end(kind, exception)

    def __del__(self) -> None:
        self._request.cancel()
        self._request.end()
        self._coroutine.close()  # it need not say as well that nobody has awaited it
