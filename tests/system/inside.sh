#!/usr/bin/env bash
# inside.sh DEB - runs as root on the machine that run.sh boots: installs the package, tries what only
# a real systemd can show, purges. A line for each thing seen; ends with 1 at the first that is not so.
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail

deb=$1
tallies=/run/tally
agents=(agent-1 agent-2 agent-3 agent-4)
# shellcheck source=tests/system/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

# ---------------------------------------------------------------------------------------------------

health_is_valid() {
    curl -sS --max-time 10 "$url/health" | python3 -c '
import json, sys
health = json.load(sys.stdin)
assert health["status"] in ("healthy", "degraded"), health["status"]
for name in ("memory_usage_percent", "cpu_usage_percent", "disk_usage_percent"):
    assert 0 <= health["system_metrics"][name] <= 100, name'
}

# Has the journal an entry of the daemon with this field, and this in it?
journal_field() { # FIELD VALUE
    journalctl --sync
    journalctl -u musterd.service -o json --no-pager | python3 -c '
import json, sys
found = [entry for entry in map(json.loads, sys.stdin) if sys.argv[2] in entry.get(sys.argv[1], "")]
sys.exit(not found)' "$1" "$2"
}

# A file system mounted where a sandbox could hide it or show it read-only.
mount_is_seen() { # FOLDER
    mkdir -p "$1"
    mount -t tmpfs -o size=1M probe "$1"
    local failed=0
    scrape_has "^node_filesystem_size_bytes\{.*mountpoint=\"$1\".*\} 1048576$" &&
        grep -E "^node_filesystem_readonly\{.*mountpoint=\"$1\".*\} 0$" "$scrape" || failed=1
    umount "$1"
    rmdir "$1"
    return $failed
}

start_agent() { # NAME [PROPERTY...]
    local name=$1 setting settings=()
    shift
    for setting; do settings+=(-p "$setting"); done
    systemd-run --quiet --unit="$name" -E PYTHONPATH=/srv/python ${settings[@]+"${settings[@]}"} \
        python3 -B /srv/system/agent.py "$name" "$tallies/$name.json"
}

all_agents_up() {
    local agent
    fetch
    for agent in "${agents[@]}"; do
        grep -qF "agent_up{agent=\"$agent\"} 1" "$scrape" || { echo "$agent is not up"; return 1; }
    done
}

# Counts go on from where they were, so agents report.
agents_report() {
    local before after
    fetch
    before=$(awk '/^agent_requests_total/ { sum += $NF } END { print sum + 0 }' "$scrape")
    sleep 0.3
    fetch
    after=$(awk '/^agent_requests_total/ { sum += $NF } END { print sum + 0 }' "$scrape")
    python3 -c 'import sys; sys.exit(not float(sys.argv[1]) < float(sys.argv[2]))' "$before" "$after"
}

kill_daemon() {
    local old
    old=$(property musterd.service MainPID)
    kill -KILL "$old"
    eventually daemon_other_than "$old"
}
daemon_other_than() {
    local pid
    pid=$(property musterd.service MainPID)
    [ "$pid" != 0 ] && [ "$pid" != "$1" ] && is musterd.service ActiveState active
}

repeat() { # TIMES COMMAND...
    local times=$1 _
    shift
    for _ in $(seq "$times"); do
        "$@" || return 1
        sleep 0.3
    done
}

main_pids() { for agent in "${agents[@]}"; do property "$agent" MainPID; done; }
same_agents() { [ "$(main_pids)" = "$agent_pids" ] || { echo "pids were $agent_pids, are $(main_pids)"; return 1; }; }

stop_counting() {
    local agent
    for agent in "${agents[@]}"; do
        systemctl kill --signal=USR1 "$agent"
        eventually test -e "$tallies/$agent.json"
    done
}
tallies_agree() { fetch && python3 /srv/system/tally.py "$scrape" "$tallies"/*.json; }

child_pid() { pgrep -f 'agent\.py child '; }
child_is() { [ "$(child_pid)" = "$1" ] && scrape_has '^agent_up\{agent="child"\} 1$'; }

left_behind() {
    find / -xdev -name '*musterd*' -not -path '/proc/*' -not -path '/srv/*' -not -path '/tmp/*'
    find /run /etc /var -name '*musterd*'
    getent passwd musterd
    getent group musterd
    systemctl list-unit-files --no-legend 'musterd*'
    systemctl list-units --all --no-legend 'musterd*'
    pgrep -l musterd
    dpkg -l musterd 2>/dev/null | grep musterd
}
nothing_left() { local left; left=$(left_behind || true); [ -z "$left" ] || { echo "$left"; return 1; }; }

# ---------------------------------------------------------------------------------------------------

echo "$(systemctl --version | head -n 1), kernel $(uname -r)"

check "the package installs" install_package
check "the service is active" systemctl is-active musterd.service
check "the socket is active" systemctl is-active musterd.socket
check "the service is enabled" systemctl is-enabled musterd.service musterd.socket
systemctl show musterd.service -p Type -p NRestarts -p StatusText -p User -p FragmentPath
check "it has not been restarted" is musterd.service NRestarts 0
check "it says what it does" not is musterd.service StatusText ""
check "the units verify" systemd-analyze verify musterd.service musterd.socket musterd-agent@x.service
check "the agent socket is for the group" test "$(stat -c '%a %G' /run/musterd/agent.sock)" = "660 musterd"
check "the daemon runs without privileges" grep -qE '^CapEff:[[:space:]]*0+$' "/proc/$(property musterd.service MainPID)/status"

for family in node_cpu_seconds_total node_filesystem_size_bytes node_network_receive_bytes_total \
    'namedprocess_namegroup_num_procs\{groupname="systemd"\}' musterd_ process_cpu_seconds_total; do
    check "the scrape has $family" scrape_has "^$family"
done
# Others have nothing to show on this machine; that is no failure, and not in the journal.
for collector in cpu diskstats filefd filesystem loadavg meminfo netclass netdev netstat os pressure sockstat stat \
    time timex uname vmstat; do
    check "$collector works" scrape_has "^node_scrape_collector_success\{collector=\"$collector\"\} 1\$"
done
check "no collector fails" not journal_has "collector fails"
for folder in /home/probe /tmp/probe /var/tmp/probe /mnt/probe; do
    check "a file system mounted at $folder is seen" mount_is_seen "$folder"
done
check "/health is measured" health_is_valid

# Units and sessions, over D-Bus.
cat >/etc/musterd/conf.d/units.toml <<'TOML'
[host.collectors.logind]
enabled = true
[host.collectors.systemd]
enabled = true
enable_start_time_metrics = true
enable_task_metrics = true
enable_restarts_metrics = true
TOML
systemctl reload musterd.service
for series in 'node_systemd_unit_state\{name="musterd.service",state="active",type="notify(-reload)?"\} 1' \
    'node_systemd_socket_accepted_connections_total\{name="musterd.socket"\} 0' \
    'node_systemd_system_running [01]' 'systemd_unit_active_enter_time_seconds\{name="musterd.service",' \
    'node_systemd_service_restart_total\{name="musterd.service"\} 0' 'systemd_boot_time_seconds\{stage="Userspace"\}' \
    'node_logind_sessions\{seat="",remote="true",type="tty",class="user"\} 0'; do
    check "units: $series" eventually scrape_has "^$series"
done
if [ -x /srv/node_exporter ]; then
    systemd-run --quiet --unit=node-exporter /srv/node_exporter --web.listen-address=127.0.0.1:9100 \
        --collector.disable-defaults --collector.systemd --collector.systemd.enable-start-time-metrics \
        --collector.systemd.enable-task-metrics --collector.systemd.enable-restarts-metrics --collector.logind
    check "node_exporter answers" eventually curl -sSf -o /dev/null http://127.0.0.1:9100/
    check "units as node_exporter has them" python3 /srv/compare.py http://127.0.0.1:9100/metrics "$url/metrics"
    python3 /srv/compare.py http://127.0.0.1:9100/metrics "$url/metrics"
    systemctl stop node-exporter
else
    echo "skipped: units beside node_exporter, which is not in PATH"
fi
systemctl restart dbus.service
check "the bus may be started anew" scrape_has '^node_systemd_unit_state\{name="dbus.service",state="active",.*\} 1'
check "its collectors do not fail" scrape_has '^node_scrape_collector_success\{collector="systemd"\} 1'
rm /etc/musterd/conf.d/units.toml

# Reload: a good configuration is taken, a bad one is refused with its reason and the old one stays.
cat >/etc/musterd/conf.d/test.toml <<'TOML'
[processes]
groups = [{ name = "first-process", comm = ["systemd"] }]
TOML
check "reload" systemctl reload musterd.service
check "a good configuration is taken" eventually scrape_has 'groupname="first-process"'
echo 'colour = "blue"' >/etc/musterd/conf.d/test.toml
check "reload with a bad configuration" systemctl reload musterd.service
check "the journal has the reason" eventually journal_has "conf.d/test.toml:1:1"
check "the old configuration stays" scrape_has 'groupname="first-process"'
check "the service goes on" is musterd.service ActiveState active
check "the journal has the daemon's fields" journal_field PATH /etc/musterd/musterd.toml

# Agents: two as root, two as a member of the group; and one that the daemon runs itself.
install -d -m 1777 "$tallies"
cat >/etc/musterd/conf.d/test.toml <<TOML
[[agent]]
name = "child"
command = ["/usr/bin/python3", "-B", "/srv/system/agent.py", "child", "$tallies/child.json"]
environment = { PYTHONPATH = "/srv/python" }
TOML
systemctl reload musterd.service
start_agent agent-1
start_agent agent-2
start_agent agent-3 User=nobody SupplementaryGroups=musterd
start_agent agent-4 User=nobody SupplementaryGroups=musterd
check "agents connect" eventually all_agents_up
check "agents report" agents_report
check "the daemon runs its own agent" eventually scrape_has '^agent_up\{agent="child"\} 1$'
check "the journal has agents' fields" eventually journal_field AGENT child
agent_pids=$(main_pids)
child=$(child_pid)

check "5 times kill -9 of the daemon" repeat 5 kill_daemon
check "the daemon's own agent lives on" eventually child_is "$child"
check "5 times systemctl restart" repeat 5 systemctl restart musterd.service
check "the daemon's own agent lives on" eventually child_is "$child"
check "an upgrade" install_package --reinstall
check "the service is active again" systemctl is-active musterd.service musterd.socket
check "agents are connected again" eventually all_agents_up
check "agents report again" agents_report
check "no agent was restarted" same_agents
check "nor was the one that the daemon runs" eventually child_is "$child"
stop_counting
check "every request of live agents is counted once: $(tallies_agree || true)" tallies_agree
systemctl stop "${agents[@]}"
check "agents have gone" eventually not scrape_has '^agent_up\{agent="agent-.*\} 1$'
check "their totals stay" tallies_agree
systemctl restart musterd.service
check "their totals outlive the daemon" tallies_agree
check "kill -9 changes nothing" kill_daemon
check "their totals outlive a kill" eventually tallies_agree

# Whatever is killed, and in whichever order: nothing is lost, nothing counted twice. Each cell so often.
times=${MUSTERD_KILLS:-4}
for cell in daemon agent daemon-agent agent-daemon restart stop-start upgrade; do
    check "no event lost: $cell" env DEB="$deb" PYTHONPATH=/srv/python python3 -B /srv/system/crash.py "$url" "$times" "$cell"
    echo "$output"
done
# The same with a disk of its own for the daemon, that can be filled.
systemctl stop musterd.service musterd.socket
cp -a /var/lib/musterd /run/state
mount -t tmpfs -o size=1M,mode=750 state /var/lib/musterd
cp -a /run/state/. /var/lib/musterd/
chown --reference=/run/state /var/lib/musterd
systemctl start musterd.socket musterd.service
check "no event lost: full-disk" env PYTHONPATH=/srv/python python3 -B /srv/system/crash.py "$url" "$times" full-disk
echo "$output"
check "a full disk is told of" journal_has "cannot write /var/lib/musterd/agents.json"
check "the agent of the daemon is there" eventually scrape_has '^agent_up\{agent="child"\} 1$'
stored() { is musterd.service NFileDescriptorStore "$1"; }
check "systemd keeps the ledger and the process of the agent that is there" eventually stored 2
systemctl stop musterd.service musterd.socket
umount /var/lib/musterd
systemctl start musterd.socket musterd.service

# What an administrator has switched off stays off.
systemctl disable --now --quiet musterd.service musterd.socket
check "stopping is clean" is musterd.service Result success
check "the socket is gone" not test -e /run/musterd/agent.sock
check "an upgrade of a disabled service" install_package --reinstall
check "it stays disabled" not systemctl is-enabled musterd.service musterd.socket

systemctl start musterd.service
check "purge" apt-get purge -y musterd
check "nothing is left" nothing_left

check "it installs again" install_package
check "it runs again" systemctl is-active musterd.service
echo "$passed passed, 0 failed"
