#!/usr/bin/env bash
# processes.sh - musterd beside Debian's prometheus-process-exporter, configured by what `musterd import` makes of
# its file: the same groups, threads and values of a scene of processes that stand still while both look.
# Takes the exporter from PATH.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
process_exporter=$(command -v prometheus-process-exporter || true)
if [ -z "$process_exporter" ]; then
    echo "skipped: no prometheus-process-exporter in PATH"
    exit 0
fi

# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
cat >"$scratch/names.yml" <<'YAML'
process_names:
  - name: "{{.ExeBase}} of {{.Username}}: {{.Matches.exe}}"
    comm: [python3]
    cmdline: ['scene\.py (?P<exe>\w+)']
  - name: "{{.Comm}}"
    exe: [sleep]
    cmdline: ['^sleep 60[0-9]$', '7$']
YAML
if [ ! -x "$musterd" ]; then (cd "$top" && cargo build --release --locked --quiet); fi
mkdir "$scratch/conf.d"
"$musterd" import process-exporter -- -config.path="$scratch/names.yml" >"$scratch/conf.d/imported.toml"
start_musterd
their_url=http://127.0.0.1:$(free_port)
start process_exporter "$process_exporter" -config.path "$scratch/names.yml" -web.listen-address "${their_url#http://}"
answers "$their_url/metrics"
start scene python3 -B "$here/scene.py" scene "$scratch"
python3 -B "$here/processes.py" "$pid" "$their_url/metrics" "$musterd_url/metrics?collect[]=namedprocess"
