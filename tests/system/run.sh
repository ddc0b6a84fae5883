#!/usr/bin/env bash
# run.sh [DEB] - install the package on a throw-away machine booted by a real systemd, and try there
# what needs one (see inside.sh, agents.sh, sandbox.sh). Builds the package if none is named. Needs root and booted.sh, a tool
# that boots such machines ($BOOTED, or ../shared/tools/booted.sh beside the project); without it
# nothing is tried.
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

# Each script in a machine of its own. The agents of the test run as other users: their files lie where
# all can read.
for script in ${MUSTERD_SYSTEM:-inside agents sandbox}; do
    echo "--- $script.sh"
    "$booted" --include python3,curl,adduser,dbus,polkitd --timeout "${MUSTERD_TIMEOUT:-300}" \
        ${node_exporter:+--copy "$node_exporter:/srv/node_exporter"} \
        --copy "$here/../live/compare.py:/srv/compare.py" \
        --copy "$deb:/srv/musterd.deb" \
        --copy "$here:/srv/system" \
        --copy "$top/clients/python/musterd:/srv/python/musterd" \
        -- env MUSTERD_KILLS="${MUSTERD_KILLS:-4}" bash "/srv/system/$script.sh" /srv/musterd.deb
done
