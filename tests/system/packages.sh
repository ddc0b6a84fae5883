#!/usr/bin/env bash
# packages.sh [FOLDER] - takes the packages in FOLDER (target/package/out; built if there are none) through
# the life of an installation, each on a throw-away machine booted by a real systemd: see life.sh. Needs
# root and booted.sh, as run.sh does. What is upgraded from is, unless $PREVIOUS_DEB and $PREVIOUS_RPM name
# real ones, the same package under an older version and with another musterd.toml.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(dirname "$(dirname "$here")")
booted=${BOOTED:-$(dirname "$top")/shared/tools/booted.sh}
older=0.0.1

if [ ! -x "$booted" ] || [ "$(id -u)" != 0 ]; then
    echo "skipped: needs root and booted.sh, which is looked for at $booted"
    exit 0
fi
if [ -z "${1:-}" ] && ! ls "$top"/target/package/out/musterd_*.deb >/dev/null 2>&1; then bash "$top/packaging/build.sh"; fi
packages=$(readlink -f "${1:-$top/target/package/out}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

one() { # PATTERN
    local found
    # shellcheck disable=SC2206 # a pattern
    found=($1)
    [ -e "${found[0]}" ] || { echo "there is no $1" >&2; return 1; }
    echo "${found[0]}"
}
deb=$(one "$packages/musterd_*.deb")
python=$(one "$packages/python3-musterd_*.deb")
wheel=$(one "$packages/musterd-*.whl")
rpm=$(one "$packages/musterd-*.rpm")

previous_deb() {
    dpkg-deb -R "$deb" "$scratch/deb"
    sed -i "s/^Version: .*/Version: $older-1/" "$scratch/deb/DEBIAN/control"
    echo "# of an older version" >>"$scratch/deb/etc/musterd/musterd.toml"
    dpkg-deb --root-owner-group -Zgzip --build "$scratch/deb" "$scratch/previous.deb" >/dev/null
    echo "$scratch/previous.deb"
}

# From what build.sh has laid out for the package.
previous_rpm() {
    mkdir -p "$scratch/rpm/target/package"
    cp -r Cargo.toml packaging "$scratch/rpm"
    cp -r target/package/rpm "$scratch/rpm/target/package/rpm"
    echo "# of an older version" >>"$scratch/rpm/target/package/rpm/etc/musterd/musterd.toml"
    (cd "$scratch/rpm" && cargo generate-rpm --auto-req builtin --set-metadata "version = \"$older\"" \
        --output "$scratch/previous.rpm")
    echo "$scratch/previous.rpm"
}

# What the rpm needs of a distribution, which is Debian below the rpms here.
system_rpm() {
    local name
    mkdir -p "$scratch/system"
    {
        printf 'Name: system\nVersion: 1\nRelease: 1\nSummary: What is there\nLicense: none\nBuildArch: noarch\n'
        rpm -qp --requires "$rpm" 2>/dev/null | grep -v '^rpmlib(' | sort -u | while read -r name; do
            echo "Provides: $name"
        done
        printf '%%description\nWhat is there.\n%%files\n'
    } >"$scratch/system.spec"
    rpmbuild --quiet -bb --define "_topdir $scratch/system" "$scratch/system.spec" >/dev/null 2>&1
    find "$scratch/system" -name '*.rpm'
}

cd "$top"
boot() { "$booted" --timeout "${MUSTERD_TIMEOUT:-300}" --copy "$here:/srv/system" "$@"; }

echo "== deb"
boot --include python3,curl,adduser,dbus --copy "$deb:/srv/new.deb" \
    --copy "${PREVIOUS_DEB:-$(previous_deb)}:/srv/previous.deb" --copy "$python:/srv/python3-musterd.deb" \
    -- bash /srv/system/life.sh deb

echo "== rpm"
boot --include python3,curl,rpm,dnf,createrepo-c,dbus --copy "$rpm:/srv/new.rpm" \
    --copy "${PREVIOUS_RPM:-$(previous_rpm)}:/srv/previous.rpm" --copy "$(system_rpm):/srv/system.rpm" \
    --copy "$wheel:/srv/musterd.whl" -- bash /srv/system/life.sh rpm
