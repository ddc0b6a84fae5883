#!/usr/bin/env bash
# run.sh - musterd beside Debian's prometheus-node-exporter on this machine: every family and every set of
# labels that the older one shows must be there. Takes the exporter from PATH. As root, and with mkfs.btrfs in
# PATH, a btrfs file system is there too.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
node_exporter=$(command -v prometheus-node-exporter || true)
if [ -z "$node_exporter" ]; then
    echo "skipped: no prometheus-node-exporter in PATH"
    exit 0
fi

# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
flags=()
optional=(buddyinfo cgroups ethtool interrupts ksmd lnstat meminfo_numa mountstats network_route processes qdisc
    slabinfo sysctl tcpstat zoneinfo)
: >"$scratch/more.toml"
for collector in "${optional[@]}"; do
    if grep -q "^\[host.collectors.$collector\]" "$top/config/musterd.toml"; then
        printf '[host.collectors.%s]\nenabled = true\n' "$collector" >>"$scratch/more.toml"
        flags+=("--collector.$collector")
    fi
done
mkdir "$scratch/conf.d" && cp "$scratch/more.toml" "$scratch/conf.d/more.toml"
mount_btrfs() {
    truncate -s 128M "$scratch/image"
    mkfs.btrfs -q "$scratch/image" >"$scratch/mkfs.log" 2>&1
    mkdir "$scratch/btrfs"
    mount -o loop "$scratch/image" "$scratch/btrfs" || return 1
    trap 'umount "$scratch/btrfs"; tidy' EXIT
}
if [ "$(id -u)" != 0 ] || ! command -v mkfs.btrfs >/dev/null || ! mount_btrfs; then
    echo "without btrfs: none can be made or mounted here"
fi

start_musterd
their_url=http://127.0.0.1:$(free_port)
start node_exporter "$node_exporter" --web.listen-address="${their_url#http://}" --web.disable-exporter-metrics \
    "${flags[@]}"
answers "$their_url/metrics"
python3 "$here/compare.py" "$their_url/metrics" "$musterd_url/metrics"
