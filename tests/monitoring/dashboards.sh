#!/usr/bin/env bash
# dashboards.sh - the dashboards are what their descriptions say, right by Grafana's published types, and every
# query of every panel has data from a live node. Takes Prometheus from $PROMETHEUS or PATH, and the npm packages
# @grafana/schema and typescript from $NODE_MODULES; what is not there is left out, with a word.
#
#   dashboards.sh --draw FOLDER   draws them there as pages instead, after two minutes, for whoever changes them
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
# shellcheck source=tests/monitoring/scene.sh
source "$here/scene.sh"

python3 -B "$top/monitoring/grafana/build" --check

if [ -d "${NODE_MODULES:-}/@grafana/schema" ] && [ -x "$NODE_MODULES/.bin/tsc" ]; then
    python3 -B "$here/schema.py" "$NODE_MODULES"
else
    echo "skipped: Grafana's types; no @grafana/schema and typescript in NODE_MODULES"
fi

if [ ! -x "$prometheus" ]; then
    echo "skipped: queries; no prometheus in PATH"
    exit 0
fi
start_scene
if [ "${1:-}" = --draw ]; then
    sleep 120
    mkdir -p "$2"
    python3 -B "$here/render.py" "$prometheus_url" "$2" 120
    exit 0
fi
# Until each agent has come into the trouble that it is made for, and rates have something to stand on.
wanted='count(agent_health_status{state=~"unhealthy|stuck|lost"} == 1) >= 3
    and count(count_over_time(up[1m]) > 20) and sum(increase(agent_exits_total{agent="flaky"}[1m])) > 1'
for _ in $(seq 90); do
    if curl -sS --get --data-urlencode "query=$wanted" "$prometheus_url/api/v1/query" | grep -q '"value"'; then break; fi
    sleep 1
done
python3 -B "$here/dashboards.py" "$prometheus_url"
python3 -B "$here/render.py" "$prometheus_url" "$scratch" 60 >/dev/null
