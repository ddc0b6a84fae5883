"""A real Alertmanager with the shipped configuration, sending to a receiver of our own (sink.py).

Only addresses, secrets' files and waits are replaced: half an hour is a few seconds here. Needs PyYAML and
$ALERTMANAGER."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from sink import PASSWORD, Sink

SHIPPED = Path(__file__).parents[2] / "monitoring/alertmanager"
# Long enough for the test to silence an alert that it has been notified of, on a machine however slow.
ESCALATION = 20
PATIENCE = 120


def shorten(route: dict) -> None:
    """Seconds for minutes: each wait of the shipped file has to be known here."""
    waits = {"10s": "1s", "1m": "2s", "30m": f"{ESCALATION}s"}
    if "group_wait" in route:
        route["group_wait"] = waits[route["group_wait"]]
    if "group_interval" in route:
        route["group_interval"] = "1s"
    for child in route.get("routes", []):
        shorten(child)


def configuration(folder: Path, sink: Sink, quiet: bool) -> Path:
    """The shipped configuration, sending to `sink`, at a time that is quiet or not."""
    config = copy.deepcopy(yaml.safe_load((SHIPPED / "alertmanager.yml").read_text()))
    secrets = {"smtp_auth_password_file": PASSWORD, "slack_api_url_file": f"http://127.0.0.1:{sink.slack}/hook"}
    for key, secret in secrets.items():
        (folder / key).write_text(secret)
        config["global"][key] = str(folder / key)
    config["global"] |= {"smtp_smarthost": f"127.0.0.1:{sink.mail}", "smtp_require_tls": False}
    config["templates"] = [str(SHIPPED / "templates/*.tmpl")]
    shorten(config["route"])
    # A whole day that is today, or one that is not.
    today = datetime.now(timezone.utc) + timedelta(days=0 if quiet else 3)
    days = [(today + timedelta(days=one)).strftime("%A").lower() for one in (0, 1)]
    for interval in config["time_intervals"]:
        interval["time_intervals"] = [{"weekdays": days, "location": "UTC"}]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Alertmanager:
    """One that runs, with a sink that it sends to."""

    def __init__(self, folder: Path, quiet: bool) -> None:
        self.sink = Sink()
        config = configuration(folder, self.sink, quiet)
        port = free_port()
        self.api = f"http://127.0.0.1:{port}/api/v2"
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [os.environ["ALERTMANAGER"], f"--config.file={config}", f"--storage.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
                stdout=log, stderr=log)
        self.until("Alertmanager answers", self.answers)

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.api}/status").status == 200
        except OSError:
            return False

    def post(self, what: str, body: object) -> None:
        request = urllib.request.Request(
            f"{self.api}/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request).read()

    def alert(self, name: str, severity: str, service: str, ended: bool = False, **labels: str) -> None:
        now = datetime.now(timezone.utc)
        self.post("alerts", [{
            "labels": {"alertname": name, "severity": severity, "service": service, **labels},
            "annotations": {"summary": f"{name} {' '.join(labels.values())}", "description": "what it is",
                            "runbook_url": f"https://example.net/{name}"},
            "startsAt": (now - timedelta(seconds=1)).isoformat(),
            "endsAt": (now if ended else now + timedelta(hours=1)).isoformat()}])

    def silence(self, name: str) -> None:
        now = datetime.now(timezone.utc)
        self.post("silences", {
            "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test", "comment": "mine"})

    def got(self, to: str, text: str) -> list:
        """Notices to a channel or an address that tell of `text` and not of its end."""
        return [notice for notice in list(self.sink.notices)
                if notice.to == to and text in notice.text and not notice.title.startswith("resolved")]

    def until(self, what: str, holds) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"not so: {what}\n{self.sink.notices}\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)
        print(f"  {what}")

    def never(self, what: str, found: list) -> None:
        if found:
            sys.exit(f"not so: {what}\n{found}")
        print(f"  {what}")


def free_port() -> int:
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def by_day(am: Alertmanager) -> None:
    web1 = {"instance": "web1", "agent": "billing"}
    am.alert("AgentLost", "critical", "agents", **web1)
    am.alert("HostDiskFull", "critical", "host", instance="web3")
    am.alert("HostMemoryErrors", "critical", "host", instance="web4")
    for where in ("#operations", "operations@example.net"):
        for name in ("AgentLost", "HostDiskFull", "HostMemoryErrors"):
            am.until(f"{name} is told to {where}", lambda: am.got(where, name))
    # One is resolved and one is silenced before half an hour is over.
    am.alert("HostMemoryErrors", "critical", "host", ended=True, instance="web4")
    am.silence("HostDiskFull")
    am.never("nothing has escalated so far", am.got("on-call@example.net", ""))

    # The machine is known to be down before its agents are told of, as within ten seconds it is.
    am.alert("MusterdDown", "critical", "musterd", instance="web2")
    am.until("MusterdDown is told", lambda: am.got("#operations", "MusterdDown web2"))
    am.alert("AgentStuck", "critical", "agents", instance="web2", agent="inbox")
    am.alert("AgentSlow", "warning", "agents", instance="web2", agent="inbox")
    am.alert("AgentRestartStorm", "warning", "agents", **web1)
    am.alert("AgentSlow", "warning", "agents", instance="web3", agent="one")
    am.alert("AgentSlow", "warning", "agents", instance="web3", agent="two")
    am.alert("PostgresSlowQuery", "warning", "databases", job="postgres", instance="db1", datname="app")
    am.alert("FeedbackRatingLow", "warning", "business", agent="billing")
    am.until("two slow agents are told together", lambda: any(
        "web3 two" in notice.text for notice in am.got("#operations", "AgentSlow web3 one")))
    am.until("databases have their channel", lambda: am.got("#databases", "PostgresSlowQuery"))
    am.until("business has its channel", lambda: am.got("#product", "FeedbackRatingLow"))
    am.until("nobody acts on AgentLost: it escalates", lambda: am.got("on-call@example.net", "AgentLost web1"))
    am.until("nobody acts on MusterdDown: it escalates", lambda: am.got("on-call@example.net", "MusterdDown"))

    am.never("what was silenced has not escalated", am.got("on-call@example.net", "HostDiskFull"))
    am.never("what was resolved has not escalated", am.got("on-call@example.net", "HostMemoryErrors"))
    told = [notice for notice in am.sink.notices if "web2 inbox" in notice.text]
    am.never("a machine that is down silences its agents", told)
    am.never("a lost agent silences its restarts", am.got("#operations", "AgentRestartStorm"))
    am.never("no warning is mailed", am.got("operations@example.net", "AgentSlow"))
    am.never("nobody logged in with another password", ["?"] * am.sink.refused_logins)
    texts = [notice.text for notice in am.got("#operations", "AgentLost")]
    am.until("a notice says what to do", lambda: "https://example.net/AgentLost" in texts[0])


def by_night(am: Alertmanager) -> None:
    am.alert("AgentSlow", "warning", "agents", instance="web1", agent="billing")
    am.alert("PostgresSlowQuery", "warning", "databases", job="postgres", instance="db1", datname="app")
    am.alert("AgentLost", "critical", "agents", instance="web3", agent="one")
    # The escalation comes later than any warning would have.
    am.until("critical alerts are told in quiet hours", lambda: am.got("#operations", "AgentLost"))
    am.until("and escalate", lambda: am.got("on-call@example.net", "AgentLost"))
    warned = am.got("#operations", "AgentSlow") + am.got("#databases", "PostgresSlowQuery")
    am.never("warnings are not told in quiet hours", warned)


def main() -> None:
    for title, quiet, play in (("by day", False, by_day), ("in quiet hours", True, by_night)):
        print(title)
        with tempfile.TemporaryDirectory() as folder:
            am = Alertmanager(Path(folder), quiet)
            try:
                play(am)
            finally:
                am.process.terminate()
                am.process.wait()


main()
