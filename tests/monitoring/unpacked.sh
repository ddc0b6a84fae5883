#!/usr/bin/env bash
# unpacked.sh COMMAND... - runs it where $ALERTMANAGER finds its templates. Debian's build looks for them below
# /usr/share; if it is unpacked and not installed, they are laid over that, in a mount namespace of its own (root).
set -euo pipefail

share=${ALERTMANAGER%/bin/*}/share
if [ -d /usr/share/prometheus/alertmanager ] || [ ! -d "$share/prometheus/alertmanager" ]; then exec "$@"; fi
# shellcheck disable=SC2016 # expanded inside
exec unshare --mount bash -c '
    mount -t overlay overlay -o "lowerdir=$1:/usr/share" /usr/share
    shift
    exec "$@"' unpacked "$(readlink -f "$share")" "$@"
