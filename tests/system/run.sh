#!/usr/bin/env bash
# run.sh [DEB] - install the package on a throw-away machine booted by a real systemd, and try there
# what needs one (see inside.sh, agents.sh, sandbox.sh; and crash.py, over $MUSTERD_REBOOTS reboots). Builds the
# package if none is named. Needs root and booted.sh, a tool that boots such machines ($BOOTED, or
# ../shared/tools/booted.sh beside the project); without it nothing is tried.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(dirname "$(dirname "$here")")
booted=${BOOTED:-$(dirname "$top")/shared/tools/booted.sh}

if [ ! -x "$booted" ] || [ "$(id -u)" != 0 ]; then
    echo "skipped: needs root and booted.sh, which is looked for at $booted"
    exit 0
fi

deb=${1:-}
if [ -z "$deb" ]; then
    bash "$top/packaging/build.sh"
    deb=$(ls "$top"/target/package/out/musterd_*.deb)
fi
echo "package: $(basename "$deb"), $(du -k "$deb" | cut -f 1) KiB"

# Beside which the units are looked at, if it is there.
node_exporter=$(command -v prometheus-node-exporter || true)

# A machine of its own for each. The agents of the test run as other users: their files lie where all can
# read.
boot() {
    "$booted" --include python3,curl,adduser,dbus,polkitd --timeout "${MUSTERD_TIMEOUT:-300}" \
        --copy "$deb:/srv/musterd.deb" --copy "$here:/srv/system" \
        --copy "$top/clients/python/musterd:/srv/python/musterd" "$@"
}

for script in ${MUSTERD_SYSTEM:-inside agents sandbox}; do
    echo "--- $script.sh"
    boot ${node_exporter:+--copy "$node_exporter:/srv/node_exporter"} \
        --copy "$here/../live/compare.py:/srv/compare.py" \
        -- env MUSTERD_KILLS="${MUSTERD_KILLS:-4}" bash "/srv/system/$script.sh" /srv/musterd.deb
done

echo "--- reboots"
crash="PYTHONPATH=/srv/python python3 -B /srv/system/crash.py reboot http://127.0.0.1:9089"
reboots=()
for _ in $(seq "${MUSTERD_REBOOTS:-2}"); do reboots+=(--reboot --run "$crash"); done
boot --run "apt-get install -qq -y --no-install-recommends /srv/musterd.deb >/dev/null 2>&1" --run "$crash" "${reboots[@]}"
