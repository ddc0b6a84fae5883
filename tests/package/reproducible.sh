#!/usr/bin/env bash
# reproducible.sh [FOLDER] - makes the packages once more, from a copy of this commit in another folder, and
# compares them with those in FOLDER (target/package/out), which must be of the same commit. Takes as long
# as a build does.
set -euo pipefail

top=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
out=$(readlink -f "${1:-$top/target/package/out}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
mkdir "$scratch/a-folder-of-another-name"
git -C "$top" archive HEAD | tar -x -C "$scratch/a-folder-of-another-name"
# A home of its own for what cargo downloads, too.
(cd "$scratch/a-folder-of-another-name" && CARGO_HOME=$scratch/cargo PATH=$PATH:$HOME/.cargo/bin bash packaging/build.sh)

failed=0
cd "$scratch/a-folder-of-another-name/target/package/out"
for file in *; do
    if cmp "$file" "$out/$file"; then echo "PASS $file is the same"; else
        echo "FAIL $file differs"
        failed=1
    fi
done
exit "$failed"
