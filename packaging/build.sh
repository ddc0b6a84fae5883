#!/usr/bin/env bash
# build.sh [OUT] - makes every package of this checkout in OUT (target/package/out): musterd_*.deb,
# musterd-*.rpm, python3-musterd_*.deb, a wheel, and musterd-*.debug for debuggers. Needs cargo-deb,
# cargo-generate-rpm, Python with pip, and binutils.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"
out=${1:-target/package/out}
mkdir -p "$out" target/package
rm -f "$out"/*musterd[-_]*
out=$(readlink -f "$out")

# Every time that is written into a package is that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(cargo metadata --format-version 1 --no-deps --locked |
    python3 -c 'import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "musterd"))')

bash packaging/binary.sh

rm -rf target/package/pages
cargo run --locked --quiet --package musterd-pages -- target/package/pages "$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)"
cat >target/package/changelog.Debian <<TEXT
musterd ($version-1) stable; urgency=medium

  * What has changed is in changelog.gz beside this file.

 -- musterd maintainers <maintainers@musterd.invalid>  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT

bash packaging/stage.sh deb
cargo deb --quiet --no-build --no-strip --output "$out/" >/dev/null

bash packaging/stage.sh rpm
cargo generate-rpm --auto-req builtin --output "$out/"

bash packaging/python.sh "$out" "$version-1"
cp target/package/musterd.debug "$out/musterd-$version-$(uname -m).debug"
(cd "$out" && stat -c '%s %n' -- *musterd[-_]*)
