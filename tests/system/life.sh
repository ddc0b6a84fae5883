#!/usr/bin/env bash
# life.sh deb|rpm - runs as root on the machines deb and rpm that run.sh boots: installation, upgrade, downgrade,
# removal, installation again, a configuration with a fault, and the end.
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail

format=$1
config=/etc/musterd/musterd.toml
# shellcheck source=tests/system/checks.sh
source "$(dirname "$0")/checks.sh"

# ---- What the two package managers call it ----------------------------------------------------------

apt() { DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends -o Dpkg::Options::=--force-confold "$@"; }

put_deb() { apt --allow-downgrades --reinstall install "$1.deb"; }
take_deb() { apt remove musterd; }
is_configured_deb() { dpkg -s musterd | grep -qx 'Status: install ok installed'; }
is_as_shipped_deb() { [ -z "$(dpkg --verify musterd)" ] || { dpkg --verify musterd; return 1; }; }

put_rpm() { rpm -U --oldpackage --replacepkgs "$1.rpm"; }
take_rpm() { rpm -e musterd; }
is_configured_rpm() { rpm -q musterd && rpm -V --noconfig musterd; }
is_as_shipped_rpm() { rpm -V musterd; }

put() { "put_$format" "/srv/$1"; }
take() { "take_$format"; }
is_configured() { "is_configured_$format"; }
is_as_shipped() { "is_as_shipped_$format"; }

# ---- What is looked at -------------------------------------------------------------------------------

runs() { systemctl is-active musterd.service musterd.socket && eventually fetch; }
enabled() { systemctl is-enabled musterd.service musterd.socket; }
main_pid() { property musterd.service MainPID; }
is_running_as() { [ "$(main_pid)" = "$1" ]; }
# One agent that reports, and one that systemd runs from the package's template.
kept=musterd-agent@kept.service
agent_pids() { property probe MainPID; property "$kept" MainPID; }
agents_are() { [ "$(agent_pids)" = "$1" ] || { echo "pids were $1, are $(agent_pids)"; return 1; }; }

requests() {
    fetch
    awk '/^agent_requests_total\{agent="probe"/ { sum += $NF } END { print sum + 0 }' "$scrape"
}
requests_are() { [ "$(requests)" = "$1" ] || { echo "$(requests) requests, not $1"; return 1; }; }
more_requests_than() { python3 -c 'import sys; sys.exit(not float(sys.argv[1]) > float(sys.argv[2]))' "$(requests)" "$1"; }
# says TEXT COMMAND... - the command ends well, and says it.
says() {
    local text=$1 said
    shift
    if said=$("$@" 2>&1) && grep -qF -- "$text" <<<"$said"; then return 0; fi
    echo "$said"
    return 1
}

# The daemon is another process, the agents are the same, and counts go on.
goes_on() { # OLD_DAEMON AGENTS REQUESTS
    runs && ! is_running_as "$1" && agents_are "$2" && eventually more_requests_than "$3"
}
change_version() { # TO TEXT
    local daemon agents requests
    daemon=$(main_pid) agents=$(agent_pids) requests=$(requests)
    check "$2" put "$1"
    check "$2: the agents and their counters go on" goes_on "$daemon" "$agents" "$requests"
    check "$2: it is enabled" enabled
}

# Links of units that were enabled stay until a purge, as Debian has it; they lead to nothing.
gone() {
    local left
    left=$(find /usr -xdev -path '*musterd*' -not -path '*/python3*'
        systemctl list-unit-files --no-legend 'musterd*'
        systemctl list-units --all --state=loaded --no-legend 'musterd*'
        pgrep -lx musterd || true)
    [ -z "$left" ] || { echo "$left"; return 1; }
}

# ---- Installation, upgrade, downgrade ----------------------------------------------------------------

echo "$format: $(systemctl --version | head -n 1)"
if [ "$format" = rpm ]; then
    # The machine is Debian's; its users and folders are none of the rpm database.
    rpm --initdb
    rpm -U /srv/system.rpm
    python3 -m zipfile -e /srv/musterd.whl /srv/python
    python_path=/srv/python
else
    check "the Python client installs" apt install /srv/python3-musterd.deb
    python_path=
fi

check "it installs" put previous
check "it runs" runs
check "it is enabled" enabled
check "it is configured" is_configured
check "the program is there for all" runuser -u nobody -- musterd --version

systemd-run --quiet --unit=probe -E PYTHONPATH="$python_path" python3 -B /srv/system/agent.py probe /run/probe.json
check "an agent reports" eventually more_requests_than 0
printf '[[agent]]\nname = "kept"\ncommand = ["sleep", "1000000"]\nautostart = false\n' >/etc/musterd/conf.d/agents.toml
check "a definition of an agent is taken" systemctl reload musterd.service
check "its unit starts" systemctl start "$kept"
check "as the user that the package has made" test "$(stat -c %U "/proc/$(property "$kept" MainPID)")" = musterd-agent
check "the daemon sees it" eventually scrape_has '^agent_up\{agent="kept"\} 1$'

change_version new "an upgrade"
check "a configuration that nobody has changed is the new one" is_as_shipped
change_version previous "a downgrade"
check "so it is after a downgrade" is_as_shipped

sed -i 's/^max_scrapes = 16$/max_scrapes = 17/' "$config"
echo '# mine' >/etc/musterd/conf.d/mine.toml
change_version new "an upgrade over changes"
check "that is seen as a change" not is_as_shipped
check "what an administrator has changed stays" grep -qx 'max_scrapes = 17' "$config"
check "what an administrator has added stays" grep -qx '# mine' /etc/musterd/conf.d/mine.toml

systemctl disable --now --quiet musterd.service musterd.socket
check "an upgrade of what is disabled" put new
check "it stays disabled" not enabled
check "it stays stopped" is musterd.service ActiveState inactive
systemctl enable --now --quiet musterd.service musterd.socket

# ---- A configuration with a fault ---------------------------------------------------------------------

check "it runs again" runs
daemon=$(main_pid)
echo 'colour = "blue"' >/etc/musterd/conf.d/broken.toml
check "an upgrade reports a fault" says "conf.d/broken.toml:1:1" put new
check "the package is configured" is_configured
check "the daemon that runs is left running" is_running_as "$daemon"

# ---- Removal, and installation again ------------------------------------------------------------------

rm /etc/musterd/conf.d/broken.toml
systemctl kill --signal=USR1 probe
check "the agent has counted" eventually test -e /run/probe.json
systemctl stop probe
check "the agent has gone" eventually scrape_has '^agent_up\{agent="probe"\} 0$'
counted=$(requests)

check "removal" take
check "nothing of it is left to run" gone
check "nor an agent that systemd has run" not pgrep -af 'sleep 1000000'
check "the totals stay" test -s /var/lib/musterd/agents.json
check "the users stay" getent passwd musterd musterd-agent
if [ "$format" = deb ]; then check "the configuration stays" grep -qx 'max_scrapes = 17' "$config"; else
    check "the changed configuration is kept beside" grep -qx 'max_scrapes = 17' "$config.rpmsave"
fi
check "what an administrator has added stays here too" test -e /etc/musterd/conf.d/mine.toml

echo 'colour = "blue"' >/etc/musterd/conf.d/broken.toml
check "installation reports a fault" says "conf.d/broken.toml:1:1" put new
check "the package is configured all the same" is_configured
check "it does not run" not systemctl is-active musterd.service
rm /etc/musterd/conf.d/broken.toml
check "it starts once the fault is corrected" systemctl start musterd.service
check "it answers" runs
check "the totals are there: $counted" requests_are "$counted"

# ---- The end --------------------------------------------------------------------------------------------

if [ "$format" = deb ]; then
    check "purge" apt purge musterd python3-musterd
    check "nothing of it runs" gone
    for user in musterd musterd-agent; do
        check "no user $user" not getent passwd "$user"
        check "no group $user" not getent group "$user"
    done
    check "no unit is asked for" not ls /etc/systemd/system/*/musterd*
    for path in /etc/musterd /var/lib/musterd /run/musterd /usr/lib/python3/dist-packages/musterd; do
        check "no $path" not test -e "$path"
    done
else
    check "removal at the end" take
    check "nothing of it runs" gone
fi
echo "$passed passed, 0 failed"
