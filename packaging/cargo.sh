#!/usr/bin/env bash
# cargo.sh ARGUMENT... - cargo, as packages are built with it: below target/package/build, and with no path of
# this machine in what it makes.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"

cargo fetch --locked --quiet
sysroot=$(rustc --print sysroot)
flags=("--remap-path-prefix=$top=musterd" "--remap-path-prefix=$sysroot=rust" "-Clink-arg=-Wl,--build-id=sha1")
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    flags+=("--remap-path-prefix=${registry%/}=crates")
done
# A folder of its own: the flags would make cargo build everything anew each time.
separator=$'\x1f'
flags_together=$(printf "%s$separator" "${flags[@]}")
CARGO_ENCODED_RUSTFLAGS=${flags_together%"$separator"} CARGO_TARGET_DIR=target/package/build exec cargo "$@"
