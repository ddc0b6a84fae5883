#!/usr/bin/env bash
# python.sh OUT VERSION - the Python client as a wheel and, of the same files, as python3-musterd_*.deb.
# Both are as clients/python/pyproject.toml says.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
out=$(readlink -f "$1")
version=$2
work=$top/target/package/python
root=$work/root

umask 022
rm -rf "$work"
mkdir -p "$work"
# setuptools writes beside what it builds.
cp -r "$top/clients/python" "$work/source"
(cd "$work" && python3 -m pip wheel --quiet --no-deps --wheel-dir "$work/wheel" ./source)
wheel=("$work"/wheel/musterd-*.whl)
cp "${wheel[0]}" "$out"

mkdir -p "$root/usr/lib/python3/dist-packages" "$root/usr/share/doc/python3-musterd" \
    "$root/usr/share/lintian/overrides" "$root/DEBIAN"
python3 -m zipfile -e "${wheel[0]}" "$root/usr/lib/python3/dist-packages"
cp "$top/packaging/copyright" "$top/clients/python/README.md" "$root/usr/share/doc/python3-musterd"
gzip -9 --no-name --stdout "$top/CHANGELOG.md" >"$root/usr/share/doc/python3-musterd/changelog.gz"
sed 's/^musterd /python3-musterd /' "$top/target/package/changelog.Debian" |
    gzip -9 --no-name --stdout >"$root/usr/share/doc/python3-musterd/changelog.Debian.gz"
cp "$top/packaging/python/lintian-overrides" "$root/usr/share/lintian/overrides/python3-musterd"
sed "s/@VERSION@/$version/" "$top/packaging/python/control" >"$root/DEBIAN/control"
install -m 755 "$top/packaging/python/postinst" "$top/packaging/python/prerm" "$root/DEBIAN"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -type f -not -path '*/DEBIAN/p*' -exec chmod 644 {} +
# dpkg-deb takes the time of the files from SOURCE_DATE_EPOCH.
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/python3-musterd_${version}_all.deb" >/dev/null
