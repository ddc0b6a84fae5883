"""An agent for the system test: makes requests without pause, and counts them for itself too.

    agent.py NAME [FILE]

On SIGUSR1 it makes no more, writes its own counts to FILE as JSON, and stays connected.
"""

import json
import os
import random
import signal
import sys
import time

from musterd import Agent

STATUSES = ("success", "success", "success", "error", "timeout", "cancelled")


def main():
    """Works until it is told to stop."""
    name = sys.argv[1]
    agent = Agent(name)
    counted = dict.fromkeys(STATUSES, 0)
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    while not asked:
        for _ in range(50):
            status = random.choice(STATUSES)
            with agent.request() as request:
                if status == "error":
                    request.fail("validation")
                elif status == "timeout":
                    request.timeout()
                elif status == "cancelled":
                    request.cancel()
            counted[status] += 1
        time.sleep(0.002)
    with open(sys.argv[2] + ".new", "w", encoding="ascii") as file:
        json.dump({"agent": name, "counted": counted}, file)
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
