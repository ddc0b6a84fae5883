"""What an exception says about a request: its status, and the category of its error.

Pure functions and tables; knows nothing of ledgers. Names stand for classes that would have to be
imported, or that belong to libraries this one must not need.
"""

from __future__ import annotations

import json
import socket
from typing import Dict, Union

from .layout import LABEL_VALUE_MAX

CATEGORIES_MAX = 32
OTHER = "other"
OVERFLOW = "overflow"
TIMEOUT = "timeout"

_TIMEOUTS = (TimeoutError, socket.timeout)
_CANCELLATIONS = (KeyboardInterrupt, GeneratorExit)

_BY_HTTP_STATUS = {
    400: "validation",
    401: "permission",
    403: "permission",
    404: "not_found",
    408: TIMEOUT,
    422: "validation",
    429: "rate_limit",
    504: TIMEOUT,
}

_BY_CLASS: Dict[Union[type, str], str] = {
    TimeoutError: TIMEOUT,
    socket.timeout: TIMEOUT,
    "TimeoutError": TIMEOUT,
    "TimeoutException": TIMEOUT,
    "APITimeoutError": TIMEOUT,
    "Timeout": TIMEOUT,
    "TimeoutExpired": TIMEOUT,
    "RateLimitError": "rate_limit",
    "TooManyRequests": "rate_limit",
    "ThrottlingException": "rate_limit",
    PermissionError: "permission",
    "AuthenticationError": "permission",
    "PermissionDeniedError": "permission",
    FileNotFoundError: "not_found",
    "NotFoundError": "not_found",
    ModuleNotFoundError: "not_found",
    ConnectionError: "network",
    socket.gaierror: "network",
    socket.herror: "network",
    "URLError": "network",
    "SSLError": "network",
    "HTTPException": "network",
    "APIConnectionError": "network",
    "ClientConnectionError": "network",
    "TransportError": "network",
    MemoryError: "memory",
    RecursionError: "recursion",
    json.JSONDecodeError: "validation",
    "ValidationError": "validation",
    ValueError: "validation",
    TypeError: "validation",
    LookupError: "lookup",
    AssertionError: "assertion",
    NotImplementedError: "not_implemented",
    ImportError: "import",
    OSError: "os",
}


def status_of(exception: type[BaseException] | None) -> str:
    """The status of a request that `exception` ended, or none did."""
    if exception is None:
        return "success"
    names = {cls.__name__ for cls in exception.__mro__}
    if issubclass(exception, _TIMEOUTS) or "TimeoutError" in names:
        return "timeout"
    if issubclass(exception, _CANCELLATIONS) or "CancelledError" in names:
        return "cancelled"
    return "error"


def text_of(value: object) -> str:
    """`value` as text: `?` for what cannot say what it is."""
    try:
        return str(value)
    except Exception:
        return "?"


def label_value(value: object) -> str:
    """`value` as a ledger has it, so that what is the same there is the same series: with `?` for what UTF-8
    cannot say, and `overflow` for what is too long."""
    text = text_of(value)
    if len(text) <= LABEL_VALUE_MAX and text.isascii():
        return text
    encoded = text.encode("utf-8", "replace")
    return encoded.decode() if len(encoded) <= LABEL_VALUE_MAX else OVERFLOW


class Limited:
    """Lets through so many different words, and `overflow` for the rest: each is a series for good."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen = {OTHER, TIMEOUT}

    def __call__(self, word: object) -> str:
        word = text_of(word) or OTHER
        if word not in self._seen:
            word = label_value(word)
            if word not in self._seen:
                if len(self._seen) >= self._limit:
                    return OVERFLOW
                self._seen.add(word)
        return word


class Categories(Dict[Union[type, str], str]):
    """Categories of a program's own, by exception class or class name; they go before the built-in ones.

    From the 33rd different category on all are `overflow`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._limit = Limited(CATEGORIES_MAX)

    def of(self, exception: BaseException) -> str:
        """The category of `exception`: the program's own, by HTTP status, or by its nearest known class."""
        try:
            found = _nearest(self, exception) or _by_http_status(exception) or _nearest(_BY_CLASS, exception)
        except Exception:  # an attribute of the exception that is itself broken
            found = None
        return self.limited(found or OTHER)

    def limited(self, category: str) -> str:
        """`category`, or `overflow` if it would be one too many."""
        return self._limit(category)


def _nearest(table: Dict[Union[type, str], str], exception: BaseException) -> str | None:
    for cls in type(exception).__mro__:
        found = table.get(cls) or table.get(cls.__name__)
        if found:
            return found
    return None


def _by_http_status(exception: BaseException) -> str | None:
    """The libraries for HTTP keep the status in one of these attributes, or in those of a response."""
    for holder in (exception, getattr(exception, "response", None)):
        for attribute in ("status_code", "status", "code", "http_status"):
            value = getattr(holder, attribute, None)
            if isinstance(value, int):
                found = _BY_HTTP_STATUS.get(value) or ("server" if 500 <= value <= 599 else None)
                if found:
                    return found
    return None
