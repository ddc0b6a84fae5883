# shellcheck shell=bash
# Sourced by benchmarks after tests/daemon.sh: programs of Debian's to measure against.

# find_peer PACKAGE - its program of the same name in $peer: from PATH, or unpacked, not installed, as nothing is to
# start by itself. Ends the benchmark with a word where it cannot be had.
find_peer() {
    peer=$(command -v "$1" || true)
    if [ -n "$peer" ]; then return; fi
    # shellcheck disable=SC2154 # of tests/daemon.sh
    if ! (cd "$scratch" && apt-get -qq download "$1" 2>apt.log); then
        echo "skipped: $1 cannot be had: $(tail -n 1 "$scratch/apt.log")"
        exit 0
    fi
    dpkg -x "$scratch/$1"_*.deb "$scratch/$1"
    # shellcheck disable=SC2034 # for who sources this
    peer=$scratch/$1/usr/bin/$1
}
