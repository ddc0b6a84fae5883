#!/usr/bin/env bash
# process_cost.sh - CPU time and memory of musterd's process groups against Debian's prometheus-process-exporter,
# which is fetched with apt-get unless it is installed, over this machine's processes and 200 more: groups by command
# alone, and all that both have (threads, and memory divided by who shares it). Each musterd is configured by what
# `musterd import` makes of the other's flags. Says figures and ratios; fails only when one of them does not answer.
# Arguments: see scrape_cost.py.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/daemon.sh
source "$here/../tests/daemon.sh"
# shellcheck source=benches/peer.sh
source "$here/peer.sh"
find_peer prometheus-process-exporter
if [ ! -x "$musterd" ]; then (cd "$top" && cargo build --release --locked --quiet); fi
printf 'process_names:\n  - name: "{{.Comm}}"\n    cmdline: [".+"]\n' >"$scratch/names.yml"
for _ in $(seq 200); do start sleeper sleep 1000000; done

compare() { # TITLE FLAGS... - on both sides
    local title=$1 theirs their_url
    shift
    set -- -config.path="$scratch/names.yml" "$@"
    rm -rf "$scratch/conf.d" "$scratch/run" "$scratch/state"
    mkdir "$scratch/conf.d"
    "$musterd" import process-exporter -- "$@" >"$scratch/conf.d/imported.toml"
    start_musterd
    local ours=$pid
    their_url=http://127.0.0.1:$(free_port)
    start process_exporter "$peer" -web.listen-address "${their_url#http://}" "$@"
    theirs=$pid
    answers "$their_url/metrics"
    printf '\n%s\n' "$title"
    python3 "$here/scrape_cost.py" musterd "$ours" "$musterd_url/metrics?collect[]=namedprocess" \
        process-exporter "$theirs" "$their_url/metrics" "${arguments[@]}"
    kill "$ours" "$theirs"
    wait "$ours" "$theirs" || true
}

arguments=(--scrapes 50 "$@")
compare "groups" -threads=false -gather-smaps=false
compare "groups, threads and proportional memory"
