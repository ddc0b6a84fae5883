"""What a daemon has to show beside a mount that does not answer, and after it does again.

    check.py PID URL MOUNT_POINT FILE
"""

import concurrent.futures
import os
import pathlib
import sys
import time
import urllib.request

# A hung scrape would take for ever, which is as long as this.
PATIENCE = 20
# Until when the daemon answers, and how much later a slow machine may be.
DEADLINE = 2
SLACK = 5


def scrape(url, timeout=None):
    """The samples of a scrape by their series, and how long it took."""
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)} if timeout else {}
    begun = time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=headers), timeout=PATIENCE) as answer:
        text = answer.read().decode()
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.rsplit(" ", 1) for line in lines), time.monotonic() - begun


def of_mount(samples, name, point):
    """The value of a family's sample for a mount point."""
    for series, value in samples.items():
        if series.startswith(name + "{") and f'mountpoint="{point}"' in series:
            return float(value)
    return None


def waiting(pid):
    """Threads of the daemon that ask mounts."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(1 for task in tasks if (task / "comm").read_text().strip() == "statfs")


def check(what, holds, *shown):
    """Says that something holds, or ends."""
    print(("ok: " if holds else "FAILED: ") + what, *shown)
    if not holds:
        raise SystemExit(1)


def main():
    """Goes through it."""
    pid, url, point, sign = sys.argv[1:]
    samples, took = scrape(url)
    check("a scrape is answered within the deadline", took < DEADLINE + SLACK, f"{took:.2f} s")
    check("the mount has an error", of_mount(samples, "node_filesystem_device_error", point) == 1.0)
    check("it has no size", of_mount(samples, "node_filesystem_size_bytes", point) is None)
    check("other mounts are there", of_mount(samples, "node_filesystem_size_bytes", "/") is not None)
    check("the collector works", samples['node_scrape_collector_success{collector="filesystem"}'] == "1")
    check("other collectors are there", any(series.startswith("node_cpu_seconds_total") for series in samples))

    _, took = scrape(url, timeout=1)
    check("a shorter deadline holds", took < 1 + SLACK, f"{took:.2f} s")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        took = max(took for _, took in pool.map(scrape, [url] * 60))
    check("scrapes at once are answered within the deadline", took < DEADLINE + SLACK, f"{took:.2f} s at most")
    # One waits in the hung mount, and one may wait for work.
    check("no more than one thread waits", waiting(pid) <= 2, waiting(pid))

    pathlib.Path(sign).touch()
    end = time.monotonic() + PATIENCE
    while of_mount(samples, "node_filesystem_device_error", point) != 0.0 and time.monotonic() < end:
        time.sleep(0.2)
        samples, _ = scrape(url)
    check("the mount recovers", of_mount(samples, "node_filesystem_size_bytes", point) == 4096000.0)
    check("its error has gone", of_mount(samples, "node_filesystem_device_error", point) == 0.0)
    os.kill(int(pid), 0)


main()
