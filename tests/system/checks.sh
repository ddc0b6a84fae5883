# shellcheck shell=bash
# checks.sh - what the scripts that run on the booted machine share; to be sourced, with the package in $deb.
# shellcheck disable=SC2317,SC2154 # functions are called by `check`; $deb is set by who sources this

url=http://127.0.0.1:9089
scrape=/tmp/scrape.prom
passed=0

# check TEXT COMMAND... - what the command says is shown only if it fails.
output=
check() {
    local text=$1
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "PASS $text"
    else
        printf 'FAIL %s\n%s\n--- the journal of musterd:\n' "$text" "$output"
        journalctl --no-pager -n 30 -u musterd.service -u musterd.socket -o cat || true
        exit 1
    fi
}

# eventually COMMAND... - for at most 15 seconds.
eventually() {
    local _
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    "$@"
}

not() { ! "$@"; }
property() { systemctl show "$1" -p "$2" --value; }
is() { # UNIT PROPERTY VALUE
    local found
    found=$(property "$1" "$2")
    [ "$found" = "$3" ] || { echo "$1: $2 is $found, not $3"; return 1; }
}
fetch() { curl -sS --fail --max-time 10 -o "$scrape" "$url/metrics"; }
scrape_has() { fetch && { grep -E -m 1 "$1" "$scrape" || { echo "no $1 in the scrape"; return 1; }; }; }
journal_has() { journalctl --sync && journalctl -u musterd.service -o cat --no-pager | grep -F -- "$1"; }
# shellcheck disable=SC2120 # has arguments when `check` calls it
install_package() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" "$deb"; }
