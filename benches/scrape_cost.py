#!/usr/bin/env python3
"""What a scrape costs two exporters that answer the same question, as ratios.

    scrape_cost.py NAME PID URL NAME PID URL [--rounds 5] [--scrapes 200] [--pause 0.0] [--gzip]

The two take turns, since the speed of a machine changes from minute to minute: in each round each is
scraped `--scrapes` times over one connection, with a pause before each scrape if one is asked for: what
is scraped seldom finds its caches cold. CPU time is that of the whole process, all threads, by its CPU
clock (clock_getcpuclockid(3)); memory is what is resident at the end. The last line of each figure is
the ratio, first to second: of medians for CPU time.
"""

import argparse
import gzip
import http.client
import statistics
import time
import urllib.parse


class Exporter:
    """One exporter: a process, and a connection to it that is kept open."""

    def __init__(self, name, pid, url, encoding):
        parts = urllib.parse.urlsplit(url)
        self.name = name
        self.pid = pid
        self.target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self.encoding = encoding
        self.rounds = []
        self.body = b""

    def scrape(self):
        """One scrape in the text format."""
        headers = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": self.encoding}
        self.connection.request("GET", self.target, headers=headers)
        answer = self.connection.getresponse()
        self.body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{self.name}: {self.target}: HTTP status {answer.status}")
        if answer.getheader("Content-Encoding", "identity") != self.encoding:
            raise SystemExit(f"{self.name}: {self.target}: not encoded as {self.encoding}")

    def cpu_ns(self):
        """CPU time used so far; the kernel's clock id of a process is made of its pid."""
        return time.clock_gettime_ns(~self.pid << 3 | 2)

    def resident_kib(self):
        """Resident memory now."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise SystemExit(f"{self.name}: /proc/{self.pid}/status has no VmRSS")

    def measure(self, scrapes, pause):
        """One round: CPU time per scrape in milliseconds, kept."""
        before = self.cpu_ns()
        for _ in range(scrapes):
            time.sleep(pause)
            self.scrape()
        self.rounds.append((self.cpu_ns() - before) / 1e6 / scrapes)

    def series(self):
        """How many series the last answer had."""
        text = gzip.decompress(self.body) if self.encoding == "gzip" else self.body
        return sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))

    def report(self, scrapes):
        """A line of figures."""
        print(
            f"{self.name}: {statistics.median(self.rounds):.3f} ms of CPU a scrape"
            f" (rounds: {', '.join(f'{cpu:.3f}' for cpu in self.rounds)}), {self.series()} series,"
            f" {self.resident_kib()} KiB resident after {scrapes} scrapes"
        )


def main():
    """Reads the arguments, measures, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exporters", nargs=6, metavar="NAME PID URL")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scrapes", type=int, default=200, help="of each exporter in each round")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each scrape")
    parser.add_argument("--gzip", action="store_true", help="ask for compressed answers")
    arguments = parser.parse_args()

    fields = iter(arguments.exporters)
    encoding = "gzip" if arguments.gzip else "identity"
    exporters = [Exporter(name, int(pid), url, encoding) for name, pid, url in zip(fields, fields, fields)]
    for exporter in exporters:
        for _ in range(10):
            exporter.scrape()
    for _ in range(arguments.rounds):
        for exporter in exporters:
            exporter.measure(arguments.scrapes, arguments.pause)

    for exporter in exporters:
        exporter.report(10 + arguments.rounds * arguments.scrapes)
    first, second = exporters
    cpu = statistics.median(first.rounds) / statistics.median(second.rounds)
    resident = first.resident_kib() / second.resident_kib()
    print(f"CPU a scrape, {first.name} to {second.name}: {cpu:.3f} (1/{1 / cpu:.1f})")
    print(f"resident memory, {first.name} to {second.name}: {resident:.3f} (1/{1 / resident:.1f})")


if __name__ == "__main__":
    main()
