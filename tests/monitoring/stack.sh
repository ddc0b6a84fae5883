#!/usr/bin/env bash
# stack.sh - the configurations of logs and of the stack in containers, as far as they can be judged without running
# them: both log shippers give the labels that the dashboards ask for, and the compose file is right by its
# specification, hardened, and does not start without its secrets. Takes a Python with PyYAML from $PYTHON,
# $PROMTOOL, and docker-compose (1.29 or later) or the plugin of docker; what is not there is left out, with a word.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(dirname "$(dirname "$here")")
python=${PYTHON:-python3}
if ! "$python" -c 'import yaml' 2>/dev/null; then
    echo "skipped: no PyYAML for $python"
    exit 0
fi
"$python" -B "$here/logs.py"

if [ -x "${MUSTERD:=$top/target/release/musterd}" ]; then
    "$MUSTERD" check-config "$top/monitoring/compose/musterd.toml"
else
    echo "skipped: musterd.toml of the container; no musterd"
fi
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    echo "skipped: compose.yml; no docker-compose"
    exit 0
fi
"$python" -B "$here/compose.py" "${compose[@]}"
