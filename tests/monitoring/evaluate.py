"""What a Prometheus makes of the shipped rules: `evaluate.py URL`, of one that scrapes a musterd of this machine."""

import json
import sys
import time
import urllib.request

PATIENCE = 120


def ask(url: str) -> dict:
    """The data of an answer."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)["data"]


def rules(url: str) -> list[dict]:
    """All rules, as they were last evaluated."""
    return [rule for group in ask(f"{url}/api/v1/rules")["groups"] for rule in group["rules"]]


def until(what: str, holds) -> None:
    """Waits until something holds, for as long as a slow machine may take."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not so: {what}")
        time.sleep(0.2)


def main() -> None:
    url = sys.argv[1]
    until("musterd is scraped", lambda: ask(f"{url}/api/v1/query?query=up{{job=%22musterd%22,instance=%22127.0.0.1%22}}==1")["result"])
    until("rules are recorded", lambda: ask(f"{url}/api/v1/query?query=instance:memory_used:ratio")["result"])
    until("rules are evaluated", lambda: all(rule["health"] != "unknown" for rule in rules(url)))
    ill = [f"{rule['name']}: {rule['lastError']}" for rule in rules(url) if rule["health"] != "ok"]
    kept = ask(f"{url}/api/v1/status/flags")["storage.tsdb.retention.time"]
    if kept != "30d":
        ill.append(f"samples are kept for {kept}")
    print("\n".join(ill) or f"Prometheus: {len(rules(url))} rules evaluated without error, samples kept for 30 days")
    sys.exit(bool(ill))


main()
