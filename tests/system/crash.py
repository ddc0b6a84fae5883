"""Kills musterd, agents, and both, and compares the sums exactly.

    crash.py URL TIMES CELL...
    crash.py reboot URL

Each cell is what is killed, and how: daemon, agent, daemon-agent, agent-daemon, restart, stop-start; upgrade,
which installs the package in $DEB once more; and full-disk, which is agent-daemon with no room left where
totals are kept, and at last the daemon alone, when systemd keeps more files for it than are open by default. At each kill some agents get a second process for a while, which connects while the daemon is
away, and between kills no count may go back. The second form is for each boot of a machine: it compares with
what was before, then adds to it.
Agents are processes of their own, this program run again; each notes in a file, before and after each
step, what it has done. What an agent has begun when it is killed is in the sum exactly; of the one
step that it was in the midst of, either count is right.
"""

import glob
import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request

AGENTS = 16
SHORT_LIVES = 600
VICTIMS = 4
VISITED = 4
ABOUT, BEGUN, ENDED = 0, 8, 16
FOLDER = "/run/crash"
KEPT = "/var/lib/crash"
FILLER = "/var/lib/musterd/filler"
SERIES = re.compile(r'agent_requests_total\{agent="([^"]*)",status="([^"]*)"\} (\S+)')


def report(name, path):
    """Makes requests until it is killed, or SIGUSR1 comes; then it ends in order."""
    from musterd import Agent

    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    with open(path, "r+b") as file:
        notes = mmap.mmap(file.fileno(), 24)
    agent = Agent(name)
    count = 0
    while not asked:
        count += 1
        struct.pack_into("<Q", notes, ABOUT, count)
        with agent.request():
            struct.pack_into("<Q", notes, BEGUN, count)
        struct.pack_into("<Q", notes, ENDED, count)
        if count % 20 == 0:
            time.sleep(0.002)
    agent.close()


def end(process):
    """Asks it to end."""
    process.send_signal(signal.SIGUSR1)
    process.wait()


def kill(process):
    """Ends it."""
    process.kill()
    process.wait()


def live_shortly(name):
    """One request, in a process of its own that ends when the daemon knows of it."""
    from musterd import Agent

    process = os.fork()
    if process:
        return process
    agent = Agent(name)
    with agent.request():
        pass
    limit = time.monotonic() + 30
    while not agent.connected and time.monotonic() < limit:
        time.sleep(0.001)
    failed = not agent.connected
    agent.close()
    os._exit(failed)


def many_short_lives(url):
    """Ledgers that cannot be let go of, more than a process may have files open by default; then a new daemon."""
    for first in range(0, SHORT_LIVES, AGENTS):
        numbers = range(first, min(first + AGENTS, SHORT_LIVES))
        processes = [live_shortly(f"crash-short-{number % AGENTS}") for number in numbers]
        if any(os.waitpid(process, 0)[1] for process in processes):
            raise SystemExit("FAILED: a short life ended without the daemon")
    old = main_pid()
    os.kill(old, signal.SIGKILL)
    until("a daemon comes that is given all of them", lambda: main_pid() not in (0, old))

    def counted():
        return sum(n for (name, _), n in exported(url).items() if name.startswith("crash-short-"))

    until(f"{SHORT_LIVES} short lives are counted", lambda: counted() == SHORT_LIVES)
    print(f"full-disk: {SHORT_LIVES} short lives, all counted by the next daemon")


class Tally:
    """The lives of one agent, and a file for each, some perhaps of an earlier boot: one process all the time, and
    a second one now and then."""

    def __init__(self, name, folder=FOLDER):
        self.name = name
        self.place = f"{folder}/{name}-"
        self.files = glob.glob(f"{self.place}*")
        self.process = None
        self.visitor = None

    def start(self):
        """Another life."""
        self.process = self.another()

    def another(self):
        """A process."""
        path = f"{self.place}{len(self.files)}"
        with open(path, "wb") as file:
            file.write(bytes(24))
        self.files.append(path)
        command = [sys.executable, "-B", __file__, "agent", self.name, path]
        return subprocess.Popen(command)

    def kill(self):
        """The end of all its processes."""
        for process in filter(None, (self.process, self.visitor)):
            kill(process)
        self.visitor = None

    def end(self):
        """The end of a life, in order."""
        end(self.process)

    def leave(self):
        """The end of the second process: in order, or not."""
        random.choice((end, kill))(self.visitor)
        self.visitor = None

    def bounds(self):
        """How many requests have been begun, at least and at most; and how many have ended."""
        least = most = ended = 0
        for path in self.files:
            with open(path, "rb") as file:
                about, begun, end = struct.unpack("<QQQ", file.read())
            least, most, ended = least + begun, most + about, ended + end
        return least, most, ended


def main_pid():
    """The daemon's."""
    command = ["systemctl", "show", "-P", "MainPID", "musterd.service"]
    return int(subprocess.check_output(command))


def systemctl(*arguments):
    """Asks systemd."""
    subprocess.run(["systemctl", *arguments], check=True)


def exported(url):
    """What musterd says: how many requests, by agent and status."""
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        found = SERIES.findall(answer.read().decode())
    return {(name, status): int(float(value)) for name, status, value in found}


def never_back(before, now):
    """No count of `before` may be missing or less."""
    for series, count in before.items():
        if now.get(series, 0) < count:
            raise SystemExit(f"FAILED: {series} went from {count} to {now.get(series, 0)}")


def connected(url, tallies):
    """How many of the agents are connected."""
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(f'agent_up{{agent="{tally.name}"}} 1\n' in text for tally in tallies)


def visited_now(url):
    """Which agents have a second process, that musterd knows of."""
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        return set(re.findall(r'agent_processes\{agent="([^"]*)"\} 2\n', answer.read().decode()))


def until(what, condition):
    """Waits for at most 30 seconds."""
    limit = time.monotonic() + 30
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > limit:
            raise SystemExit(f"FAILED: {what} within 30 s")
        time.sleep(0.05)


def fill():
    """Leaves no room in the daemon's folder."""
    with open(FILLER, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def strike(cell, tallies):
    """Does what the cell says; which agents have died by it."""
    victims = random.sample(tallies, VICTIMS)
    if cell == "daemon":
        os.kill(main_pid(), signal.SIGKILL)
        return []
    if cell == "agent":
        for tally in victims:
            tally.kill()
        return victims
    if cell == "restart":
        systemctl("restart", "musterd.service")
        return []
    if cell == "stop-start":
        systemctl("stop", "musterd.service")
        time.sleep(0.2)
        systemctl("start", "musterd.service")
        return []
    if cell == "upgrade":
        command = ["dpkg", "--install", os.environ["DEB"]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return []
    if cell == "daemon-agent":
        os.kill(main_pid(), signal.SIGKILL)
        for tally in victims:
            tally.kill()
        return victims
    if cell in ("agent-daemon", "full-disk"):
        for tally in victims:
            tally.kill()
        os.kill(main_pid(), signal.SIGKILL)
        return victims
    raise SystemExit(f"no cell {cell}")


def differences(sums, tallies):
    """What is not as the agents have noted it."""
    for tally in tallies:
        least, most, ended = tally.bounds()
        own = {status: count for (name, status), count in sums.items() if name == tally.name}
        all_of_them = sum(own.values())
        by_themselves = all_of_them - own.get("aborted", 0)
        # An agent killed between the end of a request and its note has ended one more.
        if not least <= all_of_them <= most or not ended <= by_themselves <= most:
            yield (
                f"{tally.name}: {all_of_them} exported, {by_themselves} of them ended; "
                f"begun {least} to {most}, ended {ended}"
            )


def main():
    """Goes through the cells, then compares."""
    url, times, cells = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    os.makedirs(FOLDER, exist_ok=True)
    for cell in cells:
        tallies = [Tally(f"crash-{cell}-{number}") for number in range(AGENTS)]
        for tally in tallies:
            tally.start()
        try:
            attempt(url, times, cell, tallies)
        finally:
            for tally in tallies:
                tally.kill()


def attempt(url, times, cell, tallies):
    """One cell, so often."""
    until("all agents connect", lambda: connected(url, tallies) == AGENTS)
    if cell == "full-disk":
        fill()
    sums = {}
    for _ in range(times):
        time.sleep(random.uniform(0.02, 0.3))
        old = main_pid()
        died = strike(cell, tallies)
        visited = random.sample(tallies, VISITED)
        for tally in visited:
            tally.visitor = tally.another()
        for tally in died:
            tally.start()
        if cell != "agent":
            until("the daemon comes back", lambda: main_pid() not in (0, old))
        until("all agents are connected", lambda: connected(url, tallies) == AGENTS)
        before, sums = sums, exported(url)
        never_back(before, sums)
        names = {tally.name for tally in visited}
        until("second processes are connected", lambda: names <= visited_now(url))
        for tally in visited:
            tally.leave()
    for tally in tallies:
        tally.end()
    until("all agents have gone", lambda: connected(url, tallies) == 0)
    if cell == "full-disk":
        many_short_lives(url)
        os.remove(FILLER)
        systemctl("restart", "musterd.service")
    compare(f"{cell}: {times} times", url, tallies)


def compare(title, url, tallies):
    """Ends with 1 if anything is not as the agents have noted it."""
    faults = list(differences(exported(url), tallies))
    begun = sum(tally.bounds()[0] for tally in tallies)
    lives = sum(len(tally.files) for tally in tallies)
    print(f"{title}, {AGENTS} agents, {lives} lives, {begun} requests, {len(faults)} differ")
    for fault in faults:
        print(f"FAILED: {fault}")
    if faults:
        raise SystemExit(1)


def between_reboots(url):
    """What was there before the boot is there still; then agents report, and end: some in order, some killed."""
    os.makedirs(KEPT, exist_ok=True)
    tallies = [Tally(f"crash-reboot-{number}", KEPT) for number in range(AGENTS)]
    until("the daemon answers", lambda: connected(url, tallies) == 0)
    compare("reboot", url, tallies)
    for tally in tallies:
        tally.start()
    until("all agents connect", lambda: connected(url, tallies) == AGENTS)
    time.sleep(random.uniform(0.02, 0.3))
    victims = random.sample(tallies, VICTIMS)
    for tally in tallies:
        if tally in victims:
            tally.kill()
        else:
            tally.end()
    until("all agents have gone", lambda: connected(url, tallies) == 0)


if __name__ == "__main__":
    if sys.argv[1] == "agent":
        report(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "reboot":
        between_reboots(sys.argv[2])
    else:
        main()
