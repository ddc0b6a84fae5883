"""Compares agents' own counts with what musterd exports, for each agent and each status.

    tally.py SCRAPE FILE...

SCRAPE is an answer in the text format, each FILE what an agent has written (see agent.py).
"""

import json
import re
import sys

SERIES = re.compile(r'agent_requests_total\{agent="([^"]*)",status="([^"]*)"\} (\S+)')


def main():
    """Prints every difference, or how much agrees."""
    with open(sys.argv[1], encoding="utf-8") as scrape:
        exported = {
            (agent, status): float(value) for agent, status, value in SERIES.findall(scrape.read())
        }
    wrong = total = 0
    for path in sys.argv[2:]:
        with open(path, encoding="ascii") as file:
            own = json.load(file)
        wanted = {**own["counted"], "aborted": 0}
        for status, count in wanted.items():
            found = exported.get((own["agent"], status), 0)
            total += count
            if found != count:
                wrong += 1
                print(f"{own['agent']} {status}: counted {count}, exported {found:.0f}")
    print(f"{total} requests of {len(sys.argv) - 2} agents, {wrong} series that differ")
    return wrong != 0 or total == 0


if __name__ == "__main__":
    sys.exit(main())
