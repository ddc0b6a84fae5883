# shellcheck shell=bash
# shellcheck disable=SC2154 # what tests/daemon.sh sets
# Sourced after tests/daemon.sh: a node with agents that do well and agents that do not, and a Prometheus
# that scrapes it every 2 seconds. Needs prometheus ($PROMETHEUS, or in PATH).

prometheus=${PROMETHEUS:-$(command -v prometheus || true)}

# start_scene - the node's address in $musterd_url, that of Prometheus in $prometheus_url.
start_scene() {
    local agent port
    mkdir "$scratch/conf.d"
    cat >"$scratch/conf.d/scene.toml" <<'TOML'
[host.collectors.peaks]
enabled = true
interval = "250ms"
[host.collectors.processes]
enabled = true
[agents.health]
stuck_after = "10s"
[agents.supervision]
backoff_initial = "500ms"
backoff_max = "2s"
TOML
    for agent in hasher solver worker; do
        printf '[[agent]]\nname = "%s"\ncommand = ["%s", "demo", "--agent", "%s"]\nrestart = "always"\n' \
            "$agent" "$musterd" "$agent" >>"$scratch/conf.d/scene.toml"
    done
    # Ends by itself, again and again.
    cat >>"$scratch/conf.d/scene.toml" <<'TOML'
[[agent]]
name = "flaky"
command = ["/bin/sh", "-c", "sleep 2; exit 3"]
restart = "always"
start_limit = 0
TOML
    start_musterd
    PYTHONPATH=$top/clients/python start agents python3 -B "$top/tests/monitoring/agents.py"
    # What is no agent at all is refused.
    python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b"?\n"); s.recv(1)' \
        "$MUSTERD_SOCKET" || true
    cat >"$scratch/rules.yml" <<'YAML'
groups:
  - name: scene
    rules:
      - alert: AgentInTrouble
        expr: agent_health_status{state=~"unhealthy|stuck|lost"} == 1
        labels: {severity: warning}
YAML
    port=$(free_port)
    prometheus_url=http://127.0.0.1:$port
    cat >"$scratch/prometheus.yml" <<YAML
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s}
rule_files: ["$scratch/rules.yml"]
scrape_configs:
  - job_name: musterd
    static_configs: [{targets: ["${musterd_url#http://}"]}]
  # Another job, which must not be taken for a node.
  - job_name: prometheus
    static_configs: [{targets: ["127.0.0.1:$port"]}]
YAML
    start prometheus "$prometheus" --config.file="$scratch/prometheus.yml" --storage.tsdb.path="$scratch/tsdb" \
        --web.listen-address="127.0.0.1:$port" --log.level=warn
    answers "$prometheus_url/-/ready"
}
