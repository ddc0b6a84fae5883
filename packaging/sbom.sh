#!/usr/bin/env bash
# sbom.sh [OUT] - what the program is made of, as CycloneDX JSON, in OUT (target/package/out). Needs
# cargo-cyclonedx.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"
out=${1:-target/package/out}
machine=$(uname -m)

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# Writes a file beside each manifest of the workspace; the daemon's is the one that is wanted.
name=musterd.cdx
cargo cyclonedx --quiet --format json --target "$machine-unknown-linux-gnu" --override-filename "$name"
mv "$name.json" "$out/musterd-$machine.cdx.json"
find . -path ./target -prune -o -name "$name.json" -exec rm {} +
python3 - "$out/musterd-$machine.cdx.json" <<'PYTHON'
import json, sys
document = json.load(open(sys.argv[1], encoding="utf-8"))
names = {part["name"] for part in document["components"]}
assert {"tokio", "hyper", "musterd-client"} <= names, names
print(f"{sys.argv[1]}: {len(names)} parts")
PYTHON
