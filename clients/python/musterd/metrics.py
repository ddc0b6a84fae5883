"""Metrics of an agent's own: counters, gauges and histograms with labels, exported as they are declared.

Follows "Series of an agent's own" of docs/ledger.md. Nothing here raises: what is no amount counts
nowhere, and what the daemon will not export it counts and names in `/api/v1/agents`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Dict, Sequence, Tuple, TypeVar

from . import layout
from .errors import OVERFLOW, label_value, text_of
from .ledger import Declaration, Series

if TYPE_CHECKING:
    from .agent import Agent

M = TypeVar("M", bound="Metric")

LABEL_SETS_MAX = 200
WHOLE_MAX = 1 << 48

# Exponential buckets of histograms: eight in an octave, each 9 % wide, and how far they reach beyond
# the bounds.
SCHEMA = 3
BEYOND = 16
OCTAVES_MAX = 64


class Metric:
    """A declared metric, or one series of it."""

    __slots__ = ("_agent", "_series", "_names", "_children")

    def __init__(
        self, agent: Agent | None, name: str, labels: Sequence[str] = (), values: Tuple[str, ...] = ()
    ) -> None:
        # None: the name is another metric's, and this one counts nowhere.
        self._agent = agent
        self._names = tuple(labels)
        # A label without a value is no label.
        self._series: Series = name, tuple((key, value) for key, value in zip(labels, values) if value)
        self._children: Dict[Tuple[str, ...], Metric] = {}

    def labels(self: M, **values: object) -> M:
        """The series with these label values. From the 201st on all values are `overflow`.

        A declared label that is not given stays empty, and one that is not declared is left out.
        """
        key = tuple(label_value(values.get(name, "")) for name in self._names)
        child = self._children.get(key)
        if child is None:
            if len(self._children) >= LABEL_SETS_MAX:
                key = (OVERFLOW,) * len(self._names)
            child = self._children.setdefault(key, type(self)(self._agent, self._series[0], self._names, key))
        return child  # type: ignore[return-value] # children are of their parent's class


class Counter(Metric):
    """Counts what happens. The name ends in `_total`."""

    __slots__ = ()

    def add(self, amount: int = 1) -> None:
        """Count so many more: a whole number, not below 0."""
        if self._agent and isinstance(amount, int) and 0 <= amount < WHOLE_MAX:
            self._agent._add(self._series, amount)


class FractionCounter(Metric):
    """Adds up what need not be whole, such as seconds or money. The name ends in `_total`."""

    __slots__ = ()

    def add(self, amount: float) -> None:
        """Add a finite number that is not below 0."""
        added = layout.number(amount)
        if self._agent and added is not None and 0 <= added < math.inf:
            self._agent._add(self._series, added)


class Gauge(Metric):
    """A value that goes up and down. NaN: it is not known."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the value."""
        known = layout.number(value)
        if self._agent and known is not None:
            self._agent._set(self._series, known)

    def add(self, amount: float = 1) -> None:
        """Change the value, which is 0 at first."""
        added = layout.number(amount)
        if self._agent and added is not None and math.isfinite(added):
            self._agent._add(self._series, added)


class Histogram(Metric):
    """How often a value lies in each of its buckets."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Count an observation, which is at least 0."""
        observed = layout.number(value)
        if self._agent and observed is not None and 0 <= observed < math.inf:
            self._agent._observe(self._series, observed)


def declaration(kind: int, help: str, unit: str, buckets: Sequence[float] | None = None) -> Declaration:
    """What every series of a metric is declared with."""
    shape = shape_of(buckets) if kind == layout.HISTOGRAM else None
    cuts, cells = layout.cells(shape, 0) if shape else ([], [])
    return Declaration(kind, text_of(help), text_of(unit), shape, cuts, cells)


def shape_of(buckets: Sequence[float] | None) -> layout.Shape:
    """Buckets with these classic bounds, and exponential ones from well below to well above them.

    Without bounds: those of calls of models and tools, which suit seconds.
    """
    bounds = sorted({bound for bound in map(_bound, buckets or ()) if 1e-300 < bound < 1e300})
    if not bounds:
        return layout.CALLS
    bounds = bounds[: layout.BOUNDS_MAX]
    lowest = math.floor(math.log2(bounds[0] / BEYOND))
    octaves = min(math.ceil(math.log2(bounds[-1] * BEYOND)) - lowest, OCTAVES_MAX)
    return layout.Shape(
        schema=SCHEMA,
        first=(lowest << SCHEMA) + 1,
        native_count=octaves << SCHEMA,
        zero_threshold=2.0**lowest,
        bounds=tuple(bounds),
    )


def _bound(value: float) -> float:
    """`value`, or NaN for what is no number."""
    try:
        return float(value)
    except Exception:
        return math.nan
