#!/usr/bin/env bash
# sandbox.sh DEB - runs as root on the machine that run.sh boots: what the unit's sandbox costs. All
# collectors switched on, one scrape of the daemon in its unit beside one of the same program run by root
# without any limit. A line for each thing seen; ends with 1 at the first that is not so.
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail

deb=$1
# shellcheck source=tests/system/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# The exposure of a unit, as systemd-analyze has it: from 0 (none) to 10.
exposure() { systemd-analyze security --no-pager "$1" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p'; }
exposed_at_most() { # UNIT LIMIT
    python3 -c 'import sys; sys.exit(not float(sys.argv[1]) <= float(sys.argv[2]))' "$(exposure "$1")" "$2"
}
status_line() { property musterd.service StatusText | grep -E "$1"; }

echo "$(systemctl --version | head -n 1), kernel $(uname -r)"
check "the package installs" install_package
check "the unit's exposure is at most 2.0: $(exposure musterd.service)" exposed_at_most musterd.service 2.0
check "that of an agent's is at most 4.0: $(exposure musterd-agent@x.service)" exposed_at_most musterd-agent@x.service 4.0
# What it is made of.
systemd-analyze security --no-pager musterd.service | grep -v '^✓'

# Every collector that there is.
all=/etc/musterd/conf.d/all.toml
sed -n 's/^\(\[host\.collectors\..*\]\)$/\1\nenabled = true/p' /etc/musterd/musterd.toml >"$all"
printf '[host]\ndeadline = "20s"\n' >>"$all"
check "$(grep -c enabled "$all") collectors are switched on" systemctl reload musterd.service
check "the confined daemon answers" eventually fetch
check "it says what it has done" eventually status_line 'last scrape [0-9]+ s ago: [0-9]+ samples in [0-9]+ ms; [0-9]+ agents known, 0 in trouble'
check "it says once what it may not read" journal_has "take CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"
check "once" test "$(journal_has "take CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE" | wc -l)" = 1
property musterd.service StatusText

mkdir -p /srv/free/conf.d /srv/free/run /srv/free/state
cp "$all" /srv/free/conf.d/
cat >/srv/free/free.toml <<'TOML'
[http]
listen = ["127.0.0.1:9090"]
[paths]
run = "/srv/free/run"
state = "/srv/free/state"
[agents]
socket = "/srv/free/agent.sock"
TOML
systemd-run --quiet --unit=free musterd run --config /srv/free/free.toml
free=http://127.0.0.1:9090/metrics
check "the free daemon answers" eventually curl -sSf -o /dev/null --max-time 30 "$free"
check "the sandbox hides nothing" python3 /srv/system/sandbox.py "$free" "$url/metrics"
echo "$output"

# Whom it answers, whatever it listens on.
ip address add 10.9.9.9/32 dev lo
ip address add 203.0.113.1/32 dev lo
printf '[http]\nlisten = ["0.0.0.0:9089"]\n' >/etc/musterd/conf.d/listen.toml
systemctl restart musterd.service
answers() { curl -sSf -o /dev/null --max-time 2 "http://$1:9089/-/healthy"; }
check "it answers itself" eventually answers 127.0.0.1
check "it answers a private network" answers 10.9.9.9
if journalctl --no-pager -o cat _PID=1 | grep -F "does not support BPF/cgroup firewalling"; then
    echo "skipped: whom it does not answer"
else
    check "it answers no other" not answers 203.0.113.1
fi
rm /etc/musterd/conf.d/listen.toml

# With the capabilities that the unit's comments name, nothing is missing any more.
mkdir -p /etc/systemd/system/musterd.service.d
sed -n 's/^#   \(\[Service\]\|CapabilityBoundingSet=.*\|AmbientCapabilities=.*\)$/\1/p' \
    /usr/lib/systemd/system/musterd.service >/etc/systemd/system/musterd.service.d/more.conf
check "the drop-in is in the unit's comments" grep -q CAP_SYS_PTRACE /etc/systemd/system/musterd.service.d/more.conf
systemctl daemon-reload
systemctl restart musterd.service
check "with the capabilities it runs" eventually fetch
check "and nothing is left out" python3 /srv/system/sandbox.py --with-capabilities "$free" "$url/metrics"
echo "$output"
echo "$passed passed, 0 failed"
