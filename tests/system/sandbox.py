"""Whether a daemon in its sandbox shows what one without any shows of the same machine.

    sandbox.py [--with-capabilities] FREE_URL CONFINED_URL

Compares the sets of labels of each family; values differ from moment to moment. What differs must be
explained here, and each explanation that has served is printed; nothing else may differ.
"""

import re
import sys
import time
import urllib.request

# What takes a capability that the unit does not have: family, and why.
CAPABILITY = {
    "namedprocess_namegroup_read_bytes_total": "/proc/PID/io of other users",
    "namedprocess_namegroup_write_bytes_total": "/proc/PID/io of other users",
    "node_slabinfo_": "/proc/slabinfo is root's alone",
}
# What is of the daemon that answers, or of the moment: a pattern for the series, and why.
MOMENT = {
    r"(musterd|process|agent)_": "of each daemon itself",
    r"node_scrape_collector_": "of each daemon itself",
    r'namedprocess_.*groupname="(musterd|free|python3|sh|bash|sleep|curl|timeout|setpriv|systemctl)"': "processes of the test",
    r'node_(systemd_unit|systemd_service).*name="free\.service"': "the unit of the free daemon",
    r"node_(processes_(threads_)?state|tcp_connection_states|sockstat)": "states of the moment",
    r"node_uname_info|node_boottime": "of each daemon itself",
}
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) ")


def scrape(url):
    """All series, without their values."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        found = map(SERIES.match, answer.read().decode().splitlines())
    return {match[1] for match in found if match}


def failing(url):
    """The collectors that say that they have failed."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    return set(re.findall(r'^node_scrape_collector_success\{collector="(\w+)"\} 0$', text, re.M))


def explanation(series, explained):
    """Why a series may differ, if there is a reason."""
    return next((reason for pattern, reason in explained.items() if re.match(pattern, series)), None)


def main():
    """Compares."""
    arguments = sys.argv[1:]
    explained = dict(MOMENT)
    if arguments[0] == "--with-capabilities":
        arguments = arguments[1:]
    else:
        explained.update(CAPABILITY)
    free_url, confined_url = arguments
    differing = None
    # Units and processes come and go: only what differs each time does.
    for _ in range(3):
        free, confined = scrape(free_url), scrape(confined_url)
        seen = free ^ confined
        differing = seen if differing is None else differing & seen
        time.sleep(0.5)
    faults, reasons = [], {}
    for series in sorted(differing):
        reason = explanation(series, explained)
        if reason is None:
            faults.append(("missing: " if series in free else "only confined: ") + series)
        else:
            reasons.setdefault(reason, []).append(series)
    more = failing(confined_url) - failing(free_url)
    allowed = set() if "node_slabinfo_" not in explained else {"slabinfo"}
    faults += [f"collector {name} fails in the sandbox alone" for name in sorted(more - allowed)]
    for reason, series in reasons.items():
        print(f"{len(series)} series differ: {reason}: {series[0]}")
    print(f"{len(free)} series free, {len(confined)} confined, {len(faults)} unexplained")
    print("\n".join(faults))
    if len(free) < 500:
        print("too few series for a comparison")
    sys.exit(bool(faults) or len(free) < 500)


main()
