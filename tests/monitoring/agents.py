"""Agents in all kinds of trouble, so that dashboards have something to show.

    agents.py

Each is a process of its own, since an agent that dies takes its process along. Ends with its parent, or
when it is told to.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import time

from musterd import Agent

MODELS = ("large-model", "small-model")
TOOLS = ("search", "browser", "calculator")


def planner():
    """Works well: calls models and tools, fails now and then, and is told what users think."""
    agent = Agent("planner", version="2.1.0", framework="langchain")
    ratings = agent.histogram("feedback_rating", "What users think of an answer.", buckets=[1, 2, 3, 4, 5])
    while True:
        with agent.request() as request:
            model = random.choice(MODELS)
            first = random.lognormvariate(-4, 0.5)
            time.sleep(first)
            agent.first_token(model, first)
            agent.llm_call(model, first * 4, random.choice(("success",) * 9 + ("error",)))
            agent.tokens(model, input=random.randrange(200, 2000), output=random.randrange(20, 400))
            tool = random.choice(TOOLS)
            agent.tool_call(
                tool, random.lognormvariate(-2, 1), random.choice(("success",) * 6 + ("timeout",))
            )
            if random.random() < 0.03:
                request.fail("validation")
        if random.random() < 0.1:
            ratings.observe(random.choice((2, 3, 4, 4, 5)))


def billing():
    """Fails more often than not."""
    agent = Agent("billing", version="1.4.2", framework="crewai")
    while True:
        with agent.request() as request:
            time.sleep(random.uniform(0.01, 0.05))
            kind = random.random()
            if kind < 0.35:
                request.fail("upstream")
            elif kind < 0.5:
                request.fail("rate_limit")
            elif kind < 0.6:
                request.timeout()


def archivist():
    """Becomes slower and slower."""
    agent = Agent("archivist", version="0.9.0", framework="custom")
    pause = 0.005
    while True:
        with agent.request():
            time.sleep(pause)
        pause = min(pause * 1.02, 2)


def translator():
    """Begins a request that never ends."""
    agent = Agent("translator", version="3.0.1", framework="crewai")
    for _ in range(50):
        with agent.request():
            time.sleep(0.01)
    with agent.request():
        time.sleep(3600)


def courier():
    """Dies in the midst of a request, and nobody starts it again."""
    agent = Agent("courier", version="1.0.0", framework="custom")
    until = time.monotonic() + 8
    while time.monotonic() < until:
        with agent.request():
            time.sleep(0.05)
    with agent.request():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Starts them all, and ends them with itself."""
    signal.signal(signal.SIGTERM, lambda *_: exit(0))
    context = multiprocessing.get_context("spawn")
    agents = [
        context.Process(target=work, daemon=True)
        for work in (planner, billing, archivist, translator, courier)
    ]
    for agent in agents:
        agent.start()
    with contextlib.suppress(KeyboardInterrupt):
        for agent in agents:
            agent.join()


if __name__ == "__main__":
    main()
