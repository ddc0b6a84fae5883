"""Report an agent's requests to musterd: counting is adding to shared memory, without a system call.

from musterd import Agent

agent = Agent("billing")
with agent.request():
    ...
"""

from .agent import Agent
from .base import MetricsEnabledBaseAgent
from .connection import CLIENT_VERSION as __version__
from .errors import Categories
from .metrics import Counter, FractionCounter, Gauge, Histogram
from .request import Request

__all__ = [
    "Agent",
    "Categories",
    "Counter",
    "FractionCounter",
    "Gauge",
    "Histogram",
    "MetricsEnabledBaseAgent",
    "Request",
    "__version__",
]
