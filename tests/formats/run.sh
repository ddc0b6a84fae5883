#!/usr/bin/env bash
# run.sh - a live scrape, with an agent in it, judged by others: promtool ($PROMTOOL) on the text format,
# and the parsers of the Python package prometheus-client ($PYTHON has it) on both formats.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
promtool=${PROMTOOL:-promtool}
python=${PYTHON:-python3}

start_musterd
PYTHONPATH=$top/clients/python start agent python3 -B "$here/../system/agent.py" probe "$scratch/probe.json"
for _ in $(seq 100); do
    curl -sS -o "$scratch/text" "$musterd_url/metrics"
    if grep -q 'agent_requests_total{agent="probe",status="cancelled"}' "$scratch/text"; then break; fi
    sleep 0.1
done
curl -sS -o "$scratch/openmetrics" -H 'Accept: application/openmetrics-text; version=1.0.0' "$musterd_url/metrics"

# Lint is exit status 3; what is no exposition at all is another.
rc=0
"$promtool" check metrics <"$scratch/text" 2>"$scratch/complaints" || rc=$?
if [ $rc != 0 ] && [ $rc != 3 ]; then
    cat "$scratch/complaints"
    exit 1
fi
if grep -vE -f <(grep -v '^#' "$here/known-complaints.txt") "$scratch/complaints"; then
    echo "promtool complains of more than known-complaints.txt has"
    exit 1
fi
echo "promtool: $(wc -l <"$scratch/complaints") complaints, all of them in known-complaints.txt"

"$python" "$here/parse.py" "$scratch/text" "$scratch/openmetrics"
