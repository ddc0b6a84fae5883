#!/usr/bin/env bash
# scrape_cost.sh - CPU time and memory of musterd's host collectors against Debian's
# prometheus-node-exporter, which is fetched with apt-get unless it is installed: default collectors on
# both sides, plain and with gzip, back to back and paced. Says figures and ratios; fails only when one of
# them does not answer. Arguments: see scrape_cost.py.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/daemon.sh
source "$here/../tests/daemon.sh"
# shellcheck source=benches/peer.sh
source "$here/peer.sh"
find_peer prometheus-node-exporter

start_musterd
ours=$pid
# What node_exporter does not have: processes, agents, and the daemon's own metrics.
our_url="$musterd_url/metrics?exclude[]=namedprocess&exclude[]=agents&exclude[]=musterd"

their_url=http://127.0.0.1:$(free_port)/metrics
address=${their_url#http://}
start node_exporter "$peer" --web.listen-address="${address%/metrics}" --web.disable-exporter-metrics
theirs=$pid
answers "$their_url"

compare() {
    python3 "$here/scrape_cost.py" musterd "$ours" "$our_url" node_exporter "$theirs" "$their_url" "$@"
}

"$peer" --version 2>&1 | head -n 1
printf '\nplain, back to back\n' && compare "$@"
printf '\ngzip, back to back\n' && compare --gzip "$@"
printf '\nplain, paced\n' && compare --scrapes 50 --pause 0.05 "$@"
printf '\ngzip, paced\n' && compare --gzip --scrapes 50 --pause 0.05 "$@"
