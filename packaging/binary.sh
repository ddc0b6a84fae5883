#!/usr/bin/env bash
# binary.sh - builds the program that is packaged: target/package/musterd, stripped, and beside it
# musterd.debug with what a debugger wants. Says its size and the newest glibc symbol that it needs.
# The same sources give the same bytes wherever they lie: no path of this machine is in it.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"
out=target/package
# RHEL 9 has it; Debian 12 and Ubuntu 22.04 have a newer one.
glibc=2.34

bash packaging/cargo.sh build --locked --release --package musterd

built=$out/build/release/musterd
objcopy --only-keep-debug "$built" "$out/musterd.debug"
chmod 644 "$out/musterd.debug"
objcopy --strip-all --remove-section=.comment --add-gnu-debuglink="$out/musterd.debug" "$built" "$out/musterd"

newest=$(objdump -T "$out/musterd" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -V | tail -n 1)
echo "musterd: $(stat -c %s "$out/musterd") bytes, needs glibc $newest"
if [ "$(printf '%s\n' "$newest" "$glibc" | sort -V | tail -n 1)" != "$glibc" ]; then
    echo "it needs a newer glibc than $glibc:" >&2
    objdump -T "$out/musterd" | grep "GLIBC_$newest" >&2
    exit 1
fi
