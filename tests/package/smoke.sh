#!/usr/bin/env bash
# smoke.sh FOLDER - installs the package from FOLDER on this machine, a container of a distribution that it is
# for, and asks the program for a scrape. Without systemd, whose part is tests/system.
set -euo pipefail

case $(uname -m) in x86_64) deb=amd64 ;; aarch64) deb=arm64 ;; *) deb=$(uname -m) ;; esac
if command -v apt-get >/dev/null; then
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends python3 "$1"/musterd_*_"$deb".deb "$1"/python3-musterd_*.deb
else
    dnf --quiet install -y python3 "$1"/musterd-*."$(uname -m)".rpm
fi

musterd --version
musterd check-config /etc/musterd/musterd.toml
install -d -o musterd -g musterd /run/musterd /var/lib/musterd
runuser -u musterd -- musterd run --config /etc/musterd/musterd.toml &
daemon=$!
trap 'kill "$daemon"' EXIT

python3 - <<'PYTHON'
import time, urllib.request
limit = time.monotonic() + 15
while True:
    try:
        text = urllib.request.urlopen("http://127.0.0.1:9089/metrics", timeout=5).read().decode()
        break
    except OSError:
        if time.monotonic() > limit:
            raise
        time.sleep(0.1)
for family in ("node_cpu_seconds_total", "node_memory_MemTotal_bytes", "musterd_", "process_cpu_seconds_total"):
    assert f"\n{family}" in text, f"no {family} in the scrape"
print(f"{text.count(chr(10))} lines")
PYTHON
musterd report --agent smoke --status success --seconds 0.1
musterd status
