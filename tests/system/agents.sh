#!/usr/bin/env bash
# agents.sh DEB - runs as root on the machine that run.sh boots: agents that systemd runs for the daemon.
# A line for each thing seen; ends with 1 at the first that is not so.
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail

deb=$1
# shellcheck source=tests/system/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

conf=/etc/musterd/conf.d/agents.toml
unit() { echo "musterd-agent@$1.service"; }
pid_of() { property "$(unit "$1")" MainPID; }
is_up() { is "$(unit "$1")" ActiveState active && scrape_has "^agent_up\{agent=\"$1\"\} 1\$"; }
is_down() { not is "$(unit "$1")" ActiveState active && is "$(unit "$1")" MainPID 0; }
has_pid() { [ "$(pid_of "$1")" = "$2" ] || { echo "$1 has pid $(pid_of "$1"), not $2"; return 1; }; }
other_pid() { [ "$(pid_of "$1")" != "$2" ] && [ "$(pid_of "$1")" != 0 ]; }
user_of() { stat -c %U "/proc/$(pid_of "$1")"; }
status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(pid_of "$1")/status" | tr '\t' ' ' | sed 's/ *$//'; }
environment_has() { tr '\0' '\n' <"/proc/$(pid_of "$1")/environ" | grep -x -- "$2"; }
unit_says() { journalctl --sync && journalctl -u "$(unit "$1")" -o cat --no-pager | grep -F -- "$2"; }
api() { curl -sS --max-time 10 "$url/api/v1/agents"; }
counted() { scrape_has "^$1 $2\$"; }
agent_of_api() { api | python3 -c 'import json, sys; print(eval(sys.argv[2], next(
    agent for agent in json.load(sys.stdin)["agents"] if agent["name"] == sys.argv[1])))' "$@"; } # NAME EXPRESSION
reason_is() { [ "$(agent_of_api "$1" reason)" = "$2" ] || { agent_of_api "$1" 'state, reason'; return 1; }; }
state_is() { [ "$(agent_of_api "$1" state)" = "$2" ] || { agent_of_api "$1" 'state, reason'; return 1; }; }

# Each wait differs a little by chance, but a later one is longer.
waits_grow() { # WORDS BEFORE THE WAIT
    journalctl --sync
    journalctl -u musterd.service -o cat --no-pager | sed -n "s/^$1//p" | python3 -c '
import re, sys
units = {"ms": 1, "s": 1000, "m": 60000}
waits = [sum(int(n) * units[unit] for n, unit in re.findall("([0-9]+)(ms|s|m)", line)) for line in sys.stdin]
print(waits)
sys.exit(len(waits) < 3 or not waits[-1] > waits[0] > 0)'
}

echo "$(systemctl --version | head -n 1), kernel $(uname -r)"
check "the package installs" install_package

# An agent that lives until it is told to end: a shell, as any program might be.
cat >"$conf" <<'TOML'
[[agent]]
name = "steady"
command = ["sh", "-c", "while :; do sleep 1; done"]
environment = { GREETING = "hello" }
[[agent]]
name = "other"
command = ["sleep", "1000000"]
user = "nobody"
directory = "/tmp"
[[agent]]
name = "once"
command = ["true"]
[[agent]]
name = "crashing"
command = ["sh", "-c", "sleep 0.2; exit 3"]
backoff_initial = "1s"
[[agent]]
name = "missing"
command = ["/nowhere/program"]
start_limit = 2
TOML

check "the daemon takes its agents" systemctl reload musterd.service

# Each in a service of its own, as its own user.
check "an agent runs in a unit of its own" eventually is_up steady
check "another does, too" eventually is_up other
check "one that names no user has one of its own" test "$(user_of steady)" = musterd-agent
check "one that names a user has that" test "$(user_of other)" = nobody
for agent in steady other; do
    check "$agent has no capability" test "$(status_of "$agent" CapEff)$(status_of "$agent" CapPrm)" = 00000000000000000000000000000000
    check "$agent has its own group and the socket's" \
        test "$(status_of "$agent" Groups)" = "$(printf '%s\n' "$(getent group musterd | cut -d: -f3)" "$(id -g "$(user_of "$agent")")" | sort -n | paste -sd' ')"
done
check "it knows its name" environment_has steady MUSTERD_AGENT=steady
check "and the socket" environment_has steady MUSTERD_SOCKET=/run/musterd/agent.sock
check "and what its entry says" environment_has steady GREETING=hello
check "and not how systemd is spoken to" not environment_has steady 'NOTIFY_SOCKET=.*'
check "it runs where its entry says" test "$(readlink "/proc/$(pid_of other)/cwd")" = /tmp
check "systemctl status says what it is" is "$(unit other)" StatusText "sleep as nobody"

# How agents end is counted, and decides what comes next.
check "a success is not started again" eventually counted 'agent_exits_total\{agent="once",reason="success"\}' 1
check "nor by systemd" eventually is_down once
check "a crash is counted" eventually counted 'agent_exits_total\{agent="crashing",reason="error"\}' '[1-9][0-9]*'
check "with its exit code" journal_has "exited: exit code 3; starting again in"
check "and started again" eventually counted 'agent_restarts_total\{agent="crashing"\}' '[1-9][0-9]*'
check "more than once" eventually counted 'agent_exits_total\{agent="crashing",reason="error"\}' '[3-9]'
check "with a wait that grows" waits_grow "exited: exit code 3; starting again in "
check "what cannot be run is counted" eventually counted 'agent_exits_total\{agent="missing",reason="spawn_failed"\}' 2
check "with what is wrong with it" journal_has "cannot start: cannot run /nowhere/program: No such file"
check "and given up" journal_has "given up after 2 starts"
check "also by systemd" eventually is_down missing
old=$(pid_of steady)
kill -KILL "$old"
check "a killed agent is counted" eventually counted 'agent_exits_total\{agent="steady",reason="signal"\}' 1
check "and comes back" eventually other_pid steady "$old"
check "and is up" eventually is_up steady

# One that systemd ends, for memory or time, is no success though it says so itself.
mkdir -p "/run/systemd/system/$(unit bounded).d"
printf '[Service]\nRuntimeMaxSec=1s\n' >"/run/systemd/system/$(unit bounded).d/bound.conf"
systemctl daemon-reload
printf '[[agent]]\nname = "bounded"\ncommand = ["sh", "-c", "trap '"'exit 0'"' TERM; while :; do sleep 0.1; done"]\n' >/etc/musterd/conf.d/more.toml
systemctl reload musterd.service
check "what systemd ends for a fault is counted as one" eventually counted 'agent_exits_total\{agent="bounded",reason="error"\}' '[1-9]'
check "in systemd's word" journal_has "exited: at fault, says systemd: timeout; starting again in"
check "and started again" eventually counted 'agent_restarts_total\{agent="bounded"\}' '[1-9]'
rm -r "/run/systemd/system/$(unit bounded).d" /etc/musterd/conf.d/more.toml
systemctl daemon-reload
systemctl reload musterd.service

# What outlives its leader is ended by the agent's stop_grace, not by systemd's.
cat >/etc/musterd/conf.d/more.toml <<'TOML'
[[agent]]
name = "messy"
command = ["sh", "-c", "sh -c 'trap : TERM; while :; do sleep 1; done' & sleep 1; exit 7"]
stop_grace = "3s"
TOML
systemctl reload musterd.service
check "an agent whose leader has ended is not up" eventually counted 'agent_exits_total\{agent="messy",reason="error"\}' 1
check "while others of it live" eventually is "$(unit messy)" SubState stop-sigterm
check "which are killed after its grace" eventually counted 'agent_restarts_total\{agent="messy"\}' '[1-9]'
eventually is "$(unit messy)" SubState stop-sigterm
rm /etc/musterd/conf.d/more.toml
systemctl reload musterd.service
is_over() { property "$(unit "$1")" ActiveState | grep -xE "inactive|failed"; }
check "also if it is taken out meanwhile" eventually is_over messy

# A bad file is not held against agents that have nothing to do with it.
printf '[[agent]]\nname = "patient"\ncommand = ["sleep", "1000000"]\nstart_limit = 3\nbackoff_initial = "1s"\nbackoff_max = "4s"\n' >/etc/musterd/conf.d/more.toml
systemctl reload musterd.service
eventually is_up patient >/dev/null
printf 'rubbish' >/etc/musterd/conf.d/rubbish.toml
kill -KILL "$(pid_of patient)"
check "with a bad file an agent does not start" eventually counted 'agent_exits_total\{agent="patient",reason="spawn_failed"\}' '[3-9]'
rm /etc/musterd/conf.d/rubbish.toml
check "and comes back when that is mended" eventually is_up patient
rm /etc/musterd/conf.d/more.toml
systemctl reload musterd.service

# By hand.
systemctl stop "$(unit steady)"
check "an agent stopped by hand" eventually counted 'agent_exits_total\{agent="steady",reason="stopped"\}' 1
sleep 3
check "stays down" is_down steady
systemctl start "$(unit steady)"
check "one started by hand is up" eventually is_up steady
old=$(pid_of steady)
systemctl restart "$(unit steady)"
check "one restarted by hand has another process" other_pid steady "$old"
check "which is up" eventually is_up steady
# The daemon, which sees the end of each run, is not to take it for the last.
for _ in $(seq 10); do
    check "by hand: restart" systemctl restart "$(unit steady)"
    check "by hand: stop" systemctl stop "$(unit steady)"
    check "by hand: start" systemctl start "$(unit steady)"
done
check "and it is up" eventually is_up steady

# The daemon may go as it likes. An agent that systemd runs can be told anew from its pid.
steady=$(pid_of steady)
other=$(pid_of other)
same() { has_pid steady "$steady" && has_pid other "$other" && is_up steady && is_up other; }
for _ in 1 2 3; do
    old=$(property musterd.service MainPID)
    kill -KILL "$old"
    eventually not is musterd.service MainPID "$old" >/dev/null
    eventually is musterd.service ActiveState active >/dev/null
done
check "kill -9 of the daemon restarts no agent" eventually same
systemctl restart musterd.service
check "nor does a restart" eventually same
check "nor does an upgrade" install_package --reinstall
check "(they are there)" eventually same
systemctl reload musterd.service
check "nor does a reload without a change" eventually same

# An exit is counted once, whatever becomes of the daemon before the next start.
exits() { # NAME
    fetch && awk -v name="$1" 'index($1, "agent_exits_total{agent=\"" name "\"") { sum += $2 } END { print sum }' "$scrape"
}
printf '[[agent]]\nname = "%s"\ncommand = ["%s"]\nbackoff_initial = "50s"\n' idle false absent /nowhere >/etc/musterd/conf.d/more.toml
systemctl reload musterd.service
check "an agent that waits for its next start" eventually counted 'agent_exits_total\{agent="idle",reason="error"\}' 1
check "and one that cannot be started" eventually counted 'agent_exits_total\{agent="absent",reason="spawn_failed"\}' 1
for how in "kill --signal=KILL" restart; do
    # shellcheck disable=SC2086 # several words
    systemctl $how musterd.service
    sleep 3
    check "an exit is not counted again by the next daemon ($how)" test "$(exits idle) $(exits absent)" = "1 1"
done
check "one that waits" is "$(unit idle)" SubState auto-restart
rm /etc/musterd/conf.d/more.toml
systemctl reload musterd.service
check "and is taken out is not started again by systemd" eventually is "$(unit idle)" ActiveState inactive
not systemctl start "$(unit idle)" >/dev/null 2>&1
check "nor is one that is started though nobody defines it" is "$(unit idle)" ActiveState failed
systemctl reset-failed "$(unit idle)"

# One that waits can be stopped as well. It lives for a second, so that the daemon sees it start by hand.
printf '[[agent]]\nname = "halted"\ncommand = ["sh", "-c", "sleep 1; exit 1"]\nbackoff_initial = "8s"\n' >/etc/musterd/conf.d/more.toml
systemctl reload musterd.service
eventually is "$(unit halted)" SubState auto-restart >/dev/null
systemctl stop "$(unit halted)"
sleep 9
check "an agent stopped by hand while it waits stays down" test "$(exits halted)" = 1
check "(it is down)" is_down halted
check "and is told so" eventually journal_has "agent halted is stopped"
systemctl start "$(unit halted)"
check "it can be started by hand" eventually counted 'agent_exits_total\{agent="halted",reason="error"\}' 2
rm /etc/musterd/conf.d/more.toml
systemctl reload musterd.service

# What is down on purpose stays so under the next daemon.
once() {
    local name
    for name; do [ "$(exits "$name")" = 1 ] || { grep "^agent_exits_total.*$name" "$scrape"; return 1; }; done
}
cat >/etc/musterd/conf.d/more.toml <<'TOML'
[[agent]]
name = "brief"
command = ["true"]
[[agent]]
name = "hopeless"
command = ["false"]
start_limit = 1
[[agent]]
name = "idler"
command = ["sleep", "1000000"]
[[agent]]
name = "stubborn"
command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
stop_grace = "3s"
[[agent]]
name = "lasting"
command = ["sh", "-c", "sh -c 'trap : TERM; while :; do sleep 1; done' & while ! test -e /srv/lasting; do sleep 0.2; done"]
stop_grace = "3s"
TOML
systemctl reload musterd.service
check "(it is up)" eventually is_up idler
check "(another is)" eventually is_up stubborn
systemctl stop "$(unit idler)"
check "an agent that is done" eventually counted 'agent_exits_total\{agent="brief",reason="success"\}' 1
check "one that is given up" eventually reason_is hopeless "given up: exit code 1"
check "and one that is stopped" eventually counted 'agent_exits_total\{agent="idler",reason="stopped"\}' 1
for how in "kill --signal=KILL" restart; do
    # shellcheck disable=SC2086 # several words
    systemctl $how musterd.service
    sleep 3
    check "are not started by the next daemon ($how)" once brief hopeless idler
    check "which knows why ($how)" reason_is hopeless "given up: exit code 1"
    check "of each ($how)" state_is brief stopped
done

# What is started by hand is seen, however soon it ends.
for n in 2 3 4 5 6; do
    systemctl start "$(unit brief)"
    check "a run by hand is counted ($n)" eventually counted 'agent_exits_total\{agent="brief",reason="success"\}' "$n"
done
printf 'rubbish' >/etc/musterd/conf.d/rubbish.toml
check "one that a bad file keeps from being started fails" not systemctl start "$(unit idler)"
check "and is counted as such" eventually counted 'agent_exits_total\{agent="idler",reason="spawn_failed"\}' '[1-9]'
rm /etc/musterd/conf.d/rubbish.toml
check "it can be started by hand" systemctl restart "$(unit idler)"
check "when that is mended" eventually is_up idler
printf 'rubbish' >/etc/musterd/conf.d/rubbish.toml
check "one that cannot be started anew fails" not systemctl restart "$(unit idler)"
check "its end is one that was asked for" eventually counted 'agent_exits_total\{agent="idler",reason="stopped"\}' 2
rm /etc/musterd/conf.d/rubbish.toml
check "and no other" test "$(agent_of_api idler 'exits.get("error")')" = None
systemctl restart "$(unit idler)"
check "(it is up again)" eventually is_up idler
printf 'rubbish' >/etc/musterd/conf.d/rubbish.toml
check "one that was done cannot be started either" not systemctl start "$(unit brief)"
check "(which is counted)" eventually counted 'agent_exits_total\{agent="brief",reason="spawn_failed"\}' '[1-9]'
rm /etc/musterd/conf.d/rubbish.toml
systemctl restart musterd.service
check "and a start that is wanted is made by the next daemon" \
    eventually counted 'agent_exits_total\{agent="brief",reason="success"\}' 7

# The grace of a stop is the agent's, whoever asks for it and whatever becomes of the daemon.
begun=$(date +%s)
systemctl stop "$(unit stubborn)"
check "a stop by hand takes no longer than its grace" test $(($(date +%s) - begun)) -lt 30
check "after which it is down" eventually is_down stubborn
check "and told to be stopped" eventually state_is stubborn stopped
systemctl start "$(unit stubborn)"
check "(it is up)" eventually is_up stubborn
# So is it where systemd has found it at fault, which nobody has asked for: it comes back.
mkdir "/run/systemd/system/$(unit stubborn).d"
printf '[Service]\nRuntimeMaxSec=5s\n' >"/run/systemd/system/$(unit stubborn).d/limit.conf"
systemctl daemon-reload
systemctl restart "$(unit stubborn)"
check "(it is up)" eventually is_up stubborn
old=$(pid_of stubborn)
check "(systemd ends it)" eventually is "$(unit stubborn)" ActiveState deactivating
check "an agent at fault in systemd's eyes has no more than its grace" \
    eventually counted 'agent_exits_total\{agent="stubborn",reason="signal"\}' 1
rm -r "/run/systemd/system/$(unit stubborn).d"
systemctl daemon-reload
check "and comes back" eventually other_pid stubborn "$old"
check "(it is up)" eventually is_up stubborn

# Who is about to end by itself keeps no daemon from coming back.
touch /srv/lasting
check "(one has others that outlive it)" eventually is "$(unit lasting)" SubState stop-sigterm
begun=$(date +%s)
systemctl kill --signal=KILL musterd.service
check "what outlives its leader is ended by the next daemon" eventually is_over lasting
check "(in time)" test $(($(date +%s) - begun)) -lt 30
check "and its end is counted once" eventually once lasting
# One that is stopped by hand meanwhile stays down, though its leader has ended by itself.
cat >/etc/musterd/conf.d/trailing.toml <<'TOML'
[[agent]]
name = "trailing"
command = ["sh", "-c", "sh -c 'trap : TERM; while :; do sleep 1; done' & sleep 2; exit 3"]
backoff_initial = "100ms"
stop_grace = "4s"
TOML
systemctl reload musterd.service
check "(one has others that outlive it)" eventually is "$(unit trailing)" SubState stop-sigterm
check "(its end is told)" eventually counted 'agent_exits_total\{agent="trailing",reason="error"\}' 1
systemctl stop "$(unit trailing)"
check "who is stopped while others outlive it" eventually state_is trailing stopped
sleep 2
check "stays down" is_down trailing
rm /etc/musterd/conf.d/trailing.toml
# What is stopped while no daemon runs is counted by the next, which has it back.
systemctl reload musterd.service
check "(one is up)" eventually is_up idler
n=$(exits idler)
systemctl stop musterd.service musterd.socket
systemctl stop "$(unit idler)"
systemctl start musterd.socket musterd.service
exits_are() { [ "$(exits "$1")" = "$2" ]; }
check "a stop while no daemon runs is counted" eventually exits_are idler $((n + 1))
check "and not meant for longer" eventually is_up idler
# With the daemon together, as when the machine goes down, is no word to the next.
together="musterd.socket musterd.service $(unit stubborn)"
printf '[Unit]\nConflicts=%s\nAfter=%s\n' "$together" "$together" >/run/systemd/system/quiet.target
systemctl daemon-reload
systemctl start quiet.target
check "an agent and the daemon may be stopped together" is_down stubborn
systemctl start musterd.socket musterd.service
check "and the next daemon starts the agent" eventually is_up stubborn
# A daemon that is restarted does not go.
mkdir -p /run/systemd/system/musterd.service.d
printf '[Service]\nExecStop=/bin/sleep 4\n' >/run/systemd/system/musterd.service.d/slow.conf
systemctl daemon-reload
check "(one is up)" eventually is_up idler
systemctl --no-block restart musterd.service
check "(the daemon is about to end)" eventually is musterd.service ActiveState deactivating
systemctl stop "$(unit idler)"
check "(it has come back)" eventually is musterd.service ActiveState active
check "(with its agents)" eventually is_up stubborn
sleep 3
check "who is stopped while the daemon is restarted stays down" is_down idler
rm /run/systemd/system/musterd.service.d/slow.conf
systemctl daemon-reload
rm /etc/musterd/conf.d/more.toml
systemctl reload musterd.service
check "(it is stopped)" eventually is_over stubborn

# While there is no daemon, systemd brings agents back by itself; sooner here than by default.
for name in steady other; do
    mkdir -p "/run/systemd/system/$(unit $name).d"
    printf '[Service]\nRestartSec=2s\n' >"/run/systemd/system/$(unit $name).d/soon.conf"
done
printf '[[agent]]\nname = "never"\ncommand = ["sleep", "1000000"]\nrestart = "never"\n' >/etc/musterd/conf.d/never.toml
mkdir -p "/run/systemd/system/$(unit never).d"
printf '[Service]\nRestartSec=2s\n' >"/run/systemd/system/$(unit never).d/soon.conf"
systemctl daemon-reload
systemctl reload musterd.service
check "an agent that is never restarted" eventually is_up never
systemctl stop musterd.service musterd.socket
kill -KILL "$steady" "$(pid_of never)"
check "without a daemon an agent comes back" eventually other_pid steady "$steady"
check "but not one that is never to" eventually unit_says never 'restart is "never"'
sleep 3
check "which stays down" is_down never
back=$(pid_of steady)
# One that ends shortly before the daemon begins.
rm -r "/run/systemd/system/$(unit other).d"
systemctl daemon-reload
kill -KILL "$other"
eventually is "$(unit other)" SubState auto-restart >/dev/null
systemctl start musterd.socket musterd.service
check "what came back is taken over" eventually is_up steady
check "as it is" has_pid steady "$back"
check "what ended meanwhile is counted" eventually counted 'agent_exits_total\{agent="other",reason="signal"\}' 1
check "and started at once" eventually is_up other
rm -r "/run/systemd/system/$(unit steady).d" "/run/systemd/system/$(unit never).d" /etc/musterd/conf.d/never.toml
systemctl daemon-reload
systemctl restart dbus.service
kill -KILL "$(pid_of other)"
bus_is_back() { is_up other && counted 'agent_exits_total\{agent="other",reason="signal"\}' 2; }
check "the bus may be started anew" eventually bus_is_back

# Another definition is another process; no definition is none.
steady=$(pid_of steady)
other=$(pid_of other)
sed -i 's/hello/goodbye/' "$conf"
systemctl reload musterd.service
check "a changed agent has another process" eventually other_pid steady "$steady"
check "with what has changed" eventually environment_has steady GREETING=goodbye
check "the others are left alone" has_pid other "$other"
rm "$conf"
systemctl reload musterd.service
check "an agent that is taken out is stopped" eventually is_down steady
check "they all are" eventually is_down other

# Only what root alone has written is executed.
refused() { # TEXT
    systemctl start "$(unit probe)" 2>/dev/null && { echo "it was started"; return 1; }
    systemctl stop "$(unit probe)"
    unit_says probe "$1"
}
printf '[[agent]]\nname = "probe"\ncommand = ["sleep", "9"]\nautostart = false\n' >"$conf"
chown musterd "$conf"
check "a file of another's is refused" refused "conf.d/agents.toml belongs to user"
chown root "$conf"
chmod 664 "$conf"
check "a file that others can write is refused" refused "conf.d/agents.toml has the mode 0664"
chmod 644 "$conf"
chmod 777 /etc/musterd/conf.d
check "a folder that others can write is refused" refused "conf.d has the mode 0777"
chmod 755 /etc/musterd/conf.d
mv "$conf" /srv/agents.toml
ln -s /srv/agents.toml "$conf"
check "a link is refused" refused "conf.d/agents.toml is a symbolic link"
rm "$conf"
check "an agent that is not defined is refused" refused 'no [[agent]] named "probe" in /etc/musterd/musterd.toml'
printf '[[agent]]\nname = "probe"\ncommand = ["sleep", "9"]\nuser = "nosuch"\n' >"$conf"
check "a user that is not there is refused" refused 'user "nosuch" is not in /etc/passwd'
printf '[[agent]]\nname = "probe"\ncommand = "sleep"\n' >"$conf"
check "a bad file is refused with its place" refused "conf.d/agents.toml:3:11"
printf '[[agent]]\nname = "probe"\ncommand = ["sleep", "9"]\ndirectory = "/root"\n' >"$conf"
chmod 700 /root
check "a folder that its user may not enter is refused" refused "cannot enter /root: Permission denied"
rm "$conf"

# The daemon's user may ask for its own template, and for nothing else.
as_musterd() { # METHOD UNIT
    setpriv --reuid=musterd --regid=musterd --clear-groups \
        busctl --system --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
        org.freedesktop.systemd1.Manager "$1" ss "$2" replace
}
denied() { # METHOD UNIT
    local said
    said=$(as_musterd "$@" 2>&1) && { echo "allowed"; return 1; }
    grep -Ei 'denied|authoriz|authentic' <<<"$said" || { echo "$said"; return 1; }
}
printf '[[agent]]\nname = "probe"\ncommand = ["sleep", "1000000"]\nautostart = false\n' >"$conf"
check "user musterd may start an agent" as_musterd StartUnit "$(unit probe)"
check "which runs" eventually is "$(unit probe)" ActiveState active
check "and restart it" as_musterd RestartUnit "$(unit probe)"
check "and stop it" as_musterd StopUnit "$(unit probe)"
for name in musterd.service dbus.service systemd-journald.service emergency.target reboot.target \
    'musterd-agent@probe.socket' 'musterd-agent@probe.timer' 'xmusterd-agent@probe.service' \
    'musterd-agent@a\x2fb.service'; do
    check "user musterd may not start $name" denied StartUnit "$name"
    check "user musterd may not stop $name" denied StopUnit "$name"
done
check "user musterd may not isolate" denied StartUnit rescue.target
check "nor reload systemd" not setpriv --reuid=musterd --regid=musterd --clear-groups \
    busctl --system --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Reload
check "nor run a unit of its own making" not setpriv --reuid=musterd --regid=musterd --clear-groups \
    systemd-run --quiet --no-ask-password --unit=musterd-agent@evil.service true
check "another user may not start an agent" not setpriv --reuid=nobody --regid=nogroup --clear-groups \
    busctl --system --quiet call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
    org.freedesktop.systemd1.Manager StartUnit ss "$(unit probe)" replace

# Without polkit's rule the daemon says what to do.
mv /usr/share/polkit-1/rules.d/50-musterd.rules /srv/
systemctl restart polkit.service
# What hinders all agents is tried again after the longest wait of each.
sed -i 's/autostart.*/backoff_initial = "1s"\nbackoff_max = "2s"/' "$conf"
systemctl restart musterd.service
check "without the rule, it says what to do" eventually journal_has "(package polkitd)"
mv /srv/50-musterd.rules /usr/share/polkit-1/rules.d/
systemctl restart polkit.service
check "with it the agent is started" eventually is_up probe

# Whoever starts an agent is not to bring back the socket.
systemctl stop musterd.socket musterd.service
systemctl start "$(unit probe)"
check "an agent that is started brings back no socket" is musterd.socket ActiveState inactive
systemctl start musterd.socket musterd.service
check "removal stops the agents" apt-get remove -y musterd
check "(it is down)" is_down probe
check "and the socket" not is musterd.socket ActiveState active
echo "$passed passed, 0 failed"
