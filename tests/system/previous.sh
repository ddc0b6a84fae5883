#!/usr/bin/env bash
# previous.sh DEB RPM FOLDER - makes in FOLDER what life.sh upgrades from and goes back to: previous.deb and
# previous.rpm, the same packages under an older version and with another musterd.toml. And system.rpm, which
# provides what the rpm needs of its distribution, for a machine that is Debian below the rpms.
set -euo pipefail

deb=$(readlink -f "$1")
rpm=$(readlink -f "$2")
to=$(readlink -f "$3")
older=0.0.1
cd "$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

dpkg-deb -R "$deb" "$scratch/deb"
sed -i "s/^Version: .*/Version: $older-1/" "$scratch/deb/DEBIAN/control"
echo "# of an older version" >>"$scratch/deb/etc/musterd/musterd.toml"
dpkg-deb --root-owner-group -Zgzip --build "$scratch/deb" "$to/previous.deb" >/dev/null

# From what build.sh has laid out for the package.
mkdir -p "$scratch/rpm/target/package"
cp -r Cargo.toml packaging "$scratch/rpm"
cp -r target/package/rpm "$scratch/rpm/target/package/rpm"
echo "# of an older version" >>"$scratch/rpm/target/package/rpm/etc/musterd/musterd.toml"
(cd "$scratch/rpm" && cargo generate-rpm --auto-req builtin --set-metadata "version = \"$older\"" --output "$to/previous.rpm")

{
    printf 'Name: system\nVersion: 1\nRelease: 1\nSummary: What is there\nLicense: none\nBuildArch: noarch\n'
    rpm -qp --requires "$rpm" 2>/dev/null | grep -v '^rpmlib(' | sort -u | sed 's/^/Provides: /'
    printf '%%description\nWhat is there.\n%%files\n'
} >"$scratch/system.spec"
rpmbuild --quiet -bb --define "_topdir $scratch/system" "$scratch/system.spec" >/dev/null 2>&1
mv "$scratch"/system/RPMS/*/system-*.rpm "$to/system.rpm"
