#!/usr/bin/env bash
# run.sh [--complete] - all that is tested of monitoring/ and of the reverse proxy; each script below runs by itself
# as well, and tells what it takes from where. With --complete nothing may be left out for want of a program.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
said=$(mktemp)
trap 'rm -f "$said"' EXIT
failed=()

# alerts: rules, routes, notices, and the names in all of monitoring/. dashboards: their types and their queries.
# stack: logs and containers. nginx: the reverse proxy.
for part in alerts dashboards stack nginx; do
    echo "--- $part"
    began=$SECONDS
    bash "$here/$part.sh" 2>&1 | tee -a "$said" || failed+=("$part")
    echo "--- $part took $((SECONDS - began)) s"
done

if [ "${1:-}" = --complete ] && grep -i 'skipped' "$said"; then failed+=("the above, which was left out"); fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
