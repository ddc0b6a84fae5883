# shellcheck shell=bash
# Sourced by scripts that need a daemon of their own: on a free port, with nothing outside a folder of
# theirs, ended with the script. Needs bash, python3 and a release build ($MUSTERD, or that of cargo).

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
musterd=${MUSTERD:-$top/target/release/musterd}
scratch=$(mktemp -d)
started=()

# shellcheck disable=SC2317 # run by the trap
tidy() {
    if [ ${#started[@]} -gt 0 ]; then
        kill "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap tidy EXIT

# start NAME COMMAND... - in the background; its pid in $pid, its output in $scratch/NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$scratch/$name.log" 2>&1 &
    pid=$!
    started+=("$pid")
}

free_port() {
    python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'
}

# answers URL - waits until it does.
answers() {
    local _
    for _ in $(seq 100); do
        if python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$1" 2>/dev/null; then
            return 0
        fi
        sleep 0.1
    done
    echo "no answer from $1" >&2
    tail -n 5 "$scratch"/*.log >&2
    return 1
}

# start_musterd - its pid in $pid, its address in $musterd_url, its socket in $MUSTERD_SOCKET. How full the
# machine is does not make it unhealthy.
start_musterd() {
    if [ ! -x "$musterd" ]; then (cd "$top" && cargo build --release --locked --quiet); fi
    musterd_url=http://127.0.0.1:$(free_port)
    export MUSTERD_SOCKET=$scratch/run/agent.sock
    mkdir "$scratch/run" "$scratch/state"
    cat >"$scratch/musterd.toml" <<TOML
[http]
listen = ["${musterd_url#http://}"]
[paths]
run = "$scratch/run"
state = "$scratch/state"
[agents]
socket = "$MUSTERD_SOCKET"
[health]
memory_unhealthy = 100
disk_unhealthy = 100
TOML
    start musterd "$musterd" run --config "$scratch/musterd.toml"
    answers "$musterd_url/-/healthy"
}
