#!/usr/bin/env bash
# run.sh - a file system whose server does not answer, and a daemon beside it: no scrape may be held up,
# the first included; no more than one thread may wait; and when the server answers, all is well again.
# Needs root, /dev/fuse, unshare and Python: the mount and its server live and die in namespaces of this
# script's own.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
if [ "${MUSTERD_INSIDE:-}" != yes ]; then
    if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
        echo "skipped: needs root and /dev/fuse"
        exit 0
    fi
    MUSTERD_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc "$0"
fi

# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
mount --make-rprivate /
mkdir "$scratch/hung"
start fuse python3 "$here/server.py" "$scratch/hung" "$scratch/answer"
for _ in $(seq 100); do
    if grep -q " $scratch/hung " /proc/self/mountinfo; then break; fi
    sleep 0.1
done
start_musterd
result=0
python3 "$here/check.py" "$pid" "$musterd_url" "$scratch/hung" "$scratch/answer" || result=$?
umount --lazy "$scratch/hung"
exit $result
