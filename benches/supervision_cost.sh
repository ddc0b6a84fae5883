#!/usr/bin/env bash
# supervision_cost.sh - what it costs to keep 50 programs running: musterd, with them as its children, against
# supervisord (of PyPI or Debian, in PATH), with the same policy. Says figures and ratios; fails only when one of
# them does not keep them running. Arguments: see supervision_cost.py.
set -euo pipefail

# shellcheck source=tests/daemon.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../tests/daemon.sh"
if ! command -v supervisord >/dev/null; then
    echo "skipped: no supervisord in PATH"
    exit 0
fi

mkdir "$scratch/conf.d"
printf '[agents.supervision]\nrestart = "always"\nbackoff_initial = "1ms"\n' >"$scratch/conf.d/agents.toml"
printf '[supervisord]\nnodaemon = true\nuser = %s\nlogfile = /dev/null\nlogfile_maxbytes = 0\npidfile = %s\n' \
    "$(id -un)" "$scratch/supervisord.pid" >"$scratch/supervisord.conf"
for number in $(seq 50); do
    printf '[[agent]]\nname = "sleeper-%s"\ncommand = ["/bin/sleep", "1000000"]\n' "$number" >>"$scratch/conf.d/agents.toml"
    printf '[program:sleeper-%s]\ncommand = /bin/sleep 1000000\nautorestart = true\nstartsecs = 0\n' \
        "$number" >>"$scratch/supervisord.conf"
done
start_musterd
ours=$pid
start supervisord supervisord -c "$scratch/supervisord.conf"
supervisord --version | sed 's/^/supervisord, version /'
python3 "$top/benches/supervision_cost.py" musterd "$ours" supervisord "$pid" "$@"
