#!/usr/bin/env bash
# alerts.sh - what monitoring/ ships for Prometheus and Alertmanager, judged by $PROMTOOL, $AMTOOL, and a $PROMETHEUS
# and an $ALERTMANAGER that run; and the names in all of monitoring/. $PYTHON has promql-parser and PyYAML. What is
# not there is skipped, and named.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
python=${PYTHON:-python3}
promtool=${PROMTOOL:-promtool} prometheus=${PROMETHEUS:-prometheus}
amtool=${AMTOOL:-amtool}
ALERTMANAGER=$(command -v "${ALERTMANAGER:-alertmanager}" || true)
export ALERTMANAGER PYTHONDONTWRITEBYTECODE=1

have() { # COMMAND WHAT-IS-SKIPPED
    if command -v "$1" >/dev/null; then return 0; fi
    echo "skipped: $2; there is no ${1:-alertmanager}"
    return 1
}

# A copy of the project with one line of it changed has to fail: a check that cannot fail is none.
fails_if() { # CHECK FILE SED-EXPRESSION
    local copy=$scratch/copy
    rm -rf "$copy"
    mkdir -p "$copy/tests"
    cp -r "$top"/{monitoring,docs,src,clients} "$copy"
    cp -r "$top"/tests/{monitoring,fixtures} "$copy/tests"
    sed -i "$3" "$copy/$2"
    if cmp -s "$top/$2" "$copy/$2"; then echo "sed $3 changes nothing in $2"; return 1; fi
    # It has to say what is wrong: an error of its own says nothing on standard output.
    if "$python" "$here/$1" "$copy" >"$scratch/said" || [ ! -s "$scratch/said" ]; then
        echo "$1 does not mind: $2: $3"
        return 1
    fi
}

names_and_cases() {
    "$python" "$here/names.py" --self-test
    "$python" "$here/names.py"
    "$python" "$here/complete.py"
    fails_if names.py monitoring/prometheus/rules/alerts/agents.yml 's/state="stuck"/state="stuk"/'
    # shellcheck disable=SC2016 # a template of Prometheus
    fails_if names.py monitoring/prometheus/rules/alerts/host.yml 's/\$labels.instance/$labels.node/'
    fails_if names.py monitoring/alertmanager/alertmanager.yml 's/AgentStuck/AgentStuk/'
    fails_if names.py monitoring/alertmanager/alertmanager.yml 's/equal: \[instance, agent\]/equal: [instance, agnet]/'
    fails_if names.py monitoring/grafana/dashboards/node.json '0,/node_filesystem_avail_bytes/s//node_filesystem_available_bytes/'
    fails_if names.py monitoring/grafana/dashboards/agents.json '0,/state=~\\"unhealthy/s//state=~\\"sick/'
    fails_if names.py src/agent/health.rs 's/"stuck"/"jammed"/'
    fails_if complete.py docs/runbooks.md 's/^### AgentLost$/### AgentLots/'
    fails_if complete.py tests/monitoring/rules/agents.yml 's/alertname: AgentLost$/alertname: AgentStuck/'
    fails_if complete.py monitoring/prometheus/rules/alerts/agents.yml '0,/severity: critical/s//severity: page/'
    fails_if complete.py monitoring/prometheus/rules/alerts/agents.yml '0,/#agentlost/s//#lost/'
}

# What a command says is of interest if it fails.
quietly() { "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said"; return 1; }; }

rules() {
    local shipped=$top/monitoring/prometheus
    quietly "$promtool" check config "$shipped/prometheus.yml"
    quietly "$promtool" check rules --lint=all --lint-fatal "$shipped"/rules/*/*.yml
    # A day of samples takes a while to go through: as many files at a time as there are processors.
    printf '%s\0' "$here"/rules/*.yml | quietly xargs -0 -n 1 -P "$(nproc)" "$promtool" test rules
    echo "promtool: the configuration, the rules and $(cat "$here"/rules/*.yml | grep -c '^  - name') cases of them"
}

routes() {
    local receivers labels shipped=$top/monitoring/alertmanager/alertmanager.yml
    quietly "$amtool" check-config "$shipped"
    grep -v '^#' "$here/routes.txt" | while read -r receivers labels; do
        # shellcheck disable=SC2086 # several labels
        quietly "$amtool" config routes test --config.file "$shipped" --verify.receivers="$receivers" $labels ||
            { echo "not to $receivers: $labels"; exit 1; }
    done
    echo "amtool: the configuration, and where $(grep -vc '^#' "$here/routes.txt") alerts go"
}

# A Prometheus that has scraped a musterd evaluates all rules, and keeps samples as long as is said.
evaluation() {
    local url
    start_musterd
    url=http://127.0.0.1:$(free_port)
    cp -r "$top/monitoring/prometheus" "$scratch/prometheus"
    sed -i -e "s/127.0.0.1:9089/${musterd_url#http://}/; s/127.0.0.1:9093/127.0.0.1:9/" \
        -e 's/_interval: 15s/_interval: 1s/; s/_timeout: 10s/_timeout: 1s/' "$scratch/prometheus/prometheus.yml"
    # shellcheck source=monitoring/prometheus/default
    source "$scratch/prometheus/default"
    # shellcheck disable=SC2086 # several flags
    start prometheus "$prometheus" --config.file="$scratch/prometheus/prometheus.yml" \
        --storage.tsdb.path="$scratch/prometheus/data" --web.listen-address="${url#http://}" $ARGS
    answers "$url/-/ready"
    "$python" "$here/evaluate.py" "$url"
}

if "$python" -c 'import promql_parser, yaml' 2>/dev/null; then
    names_and_cases
else
    echo "skipped: names, cases and delivery; $python lacks promql-parser or PyYAML"
fi
if have "$promtool" "rules"; then rules; fi
if have "$amtool" "routes"; then routes; fi
if have "$prometheus" "evaluation"; then evaluation; fi
if have "$ALERTMANAGER" "delivery" && "$python" -c 'import yaml' 2>/dev/null; then
    bash "$here/unpacked.sh" "$python" "$here/deliver.py"
fi
