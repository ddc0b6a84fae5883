#!/usr/bin/env bash
# run.sh [MACHINE...] - what needs a real systemd, each on a throw-away machine booted by one: inside, agents and
# sandbox (the scripts of these names, with the .deb installed), reboots (crash.py, over so many as
# $MUSTERD_REBOOTS says), deb and rpm (life.sh: the packages, from installation to purge). All by default.
# The packages are those in $PACKAGES (target/package/out; built if there are none), and what they upgrade
# from is made by previous.sh unless $PREVIOUS_DEB and $PREVIOUS_RPM name real ones. Needs root and booted.sh,
# a tool that boots such machines ($BOOTED, or ../shared/tools/booted.sh beside the project); without it
# nothing is tried.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(dirname "$(dirname "$here")")
booted=${BOOTED:-$(dirname "$top")/shared/tools/booted.sh}
packages=${PACKAGES:-$top/target/package/out}

if [ ! -x "$booted" ] || [ "$(id -u)" != 0 ]; then
    echo "skipped: needs root and booted.sh, which is looked for at $booted"
    exit 0
fi

the_one() { # FILE... - what a pattern has matched
    if [ $# != 1 ] || [ ! -e "$1" ]; then echo "not one file, but $*" >&2; return 1; fi
    echo "$1"
}
if ! the_one "$packages"/musterd_*.deb >/dev/null 2>&1; then bash "$top/packaging/build.sh" "$packages"; fi
deb=$(the_one "$packages"/musterd_*.deb)
rpm=$(the_one "$packages"/musterd-*.rpm)
python=$(the_one "$packages"/python3-musterd_*.deb)
wheel=$(the_one "$packages"/musterd-*.whl)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What the machines have besides systemd; but for rpm the same for all, for each list is a root to be built.
for_deb=python3,curl,adduser,dbus,iproute2,polkitd
for_rpm=python3,curl,rpm,dnf,createrepo-c,dbus
boot() { "$booted" --timeout "${MUSTERD_TIMEOUT:-300}" --copy "$here:/srv/system" "$@"; }

# A script that installs the .deb itself. The agents of the tests run as other users: their files lie where
# all can read. node_exporter, beside which units are looked at, if it is there.
with_deb() { # SCRIPT
    local node_exporter
    node_exporter=$(command -v prometheus-node-exporter || true)
    boot --include "$for_deb" \
        ${node_exporter:+--copy "$node_exporter:/srv/node_exporter"} \
        --copy "$here/../live/compare.py:/srv/compare.py" \
        --copy "$deb:/srv/musterd.deb" \
        --copy "$top/clients/python/musterd:/srv/python/musterd" \
        -- env MUSTERD_KILLS="${MUSTERD_KILLS:-4}" bash "/srv/system/$1" /srv/musterd.deb
}

over_reboots() {
    local crash install reboots=()
    crash="PYTHONPATH=/srv/python python3 -B /srv/system/crash.py reboot http://127.0.0.1:9089"
    install="apt-get install -qq -y --no-install-recommends /srv/musterd.deb >/dev/null 2>&1"
    for _ in $(seq "${MUSTERD_REBOOTS:-2}"); do reboots+=(--reboot --run "$crash"); done
    boot --include "$for_deb" --copy "$deb:/srv/musterd.deb" \
        --copy "$top/clients/python/musterd:/srv/python/musterd" --run "$install" --run "$crash" "${reboots[@]}"
}

make_previous() {
    [ -e "$scratch/system.rpm" ] || bash "$here/previous.sh" "$deb" "$rpm" "$scratch"
}
life_of_deb() {
    make_previous || return
    boot --include "$for_deb" --copy "$deb:/srv/new.deb" \
        --copy "${PREVIOUS_DEB:-$scratch/previous.deb}:/srv/previous.deb" \
        --copy "$python:/srv/python3-musterd.deb" -- bash /srv/system/life.sh deb
}
life_of_rpm() {
    make_previous || return
    boot --include "$for_rpm" --copy "$rpm:/srv/new.rpm" \
        --copy "${PREVIOUS_RPM:-$scratch/previous.rpm}:/srv/previous.rpm" \
        --copy "$scratch/system.rpm:/srv/system.rpm" \
        --copy "$wheel:/srv/musterd.whl" -- bash /srv/system/life.sh rpm
}

if [ $# = 0 ]; then set -- inside agents sandbox reboots deb rpm; fi
failed=()
for machine; do
    echo "== $machine"
    case $machine in
    deb | rpm) "life_of_$machine" || failed+=("$machine") ;;
    reboots) over_reboots || failed+=("$machine") ;;
    inside | agents | sandbox) with_deb "$machine.sh" || failed+=("$machine") ;;
    *) echo "there is no machine $machine" >&2; exit 2 ;;
    esac
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
