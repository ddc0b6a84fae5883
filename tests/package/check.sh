#!/usr/bin/env bash
# check.sh [FOLDER] - what can be said of the packages in FOLDER (target/package/out) without installing
# them. Needs lintian, rpm, rpmlint and mandoc; a line for each thing seen, and the end with 1 if one is not so.
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail

top=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
out=$(readlink -f "${1:-$top/target/package/out}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

check() { # TEXT COMMAND...
    local text=$1 output
    shift
    if output=$("$@" 2>&1); then echo "PASS $text"; else
        printf 'FAIL %s\n%s\n' "$text" "$output"
        failed=1
    fi
}

lintian_is_silent() {
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$out"/*.deb
}
rpmlint_is_silent() {
    local said
    said=$(rpmlint --config "$top/packaging/rpmlint.toml" "$out"/*.rpm 2>&1)
    grep -q ' 0 errors, 0 warnings' <<<"$said" || { echo "$said"; return 1; }
}

# Where the two kinds of package differ by their own customs.
names_of() { grep -vE '^/usr/share/(doc|licenses|lintian|zsh)/' | LC_ALL=C sort; }
same_files() {
    local root=$scratch/deb
    mkdir -p "$root/rpm"
    dpkg-deb -x "$out"/musterd_*.deb "$root/deb"
    (cd "$root/rpm" && rpm2cpio "$out"/musterd-*.rpm | cpio --quiet -idm)
    (cd "$root/deb" && find . -type f -printf '/%P\n' | names_of) >"$scratch/deb.names"
    (cd "$root/rpm" && find . -type f -printf '/%P\n' | names_of) >"$scratch/rpm.names"
    diff "$scratch/deb.names" "$scratch/rpm.names" || return 1
    grep -qx /usr/bin/musterd "$scratch/deb.names" || return 1
    local name
    while read -r name; do
        cmp "$root/deb$name" "$root/rpm$name" || return 1
        [ "$(stat -c %a "$root/deb$name")" = "$(stat -c %a "$root/rpm$name")" ] || { echo "$name: modes"; return 1; }
    done <"$scratch/deb.names"
}
configuration_is_kept() {
    local wanted
    wanted=$(printf '%s\n' /etc/musterd/conf.d/README /etc/musterd/musterd.toml)
    diff <(dpkg-deb -I "$out"/musterd_*.deb conffiles | LC_ALL=C sort) - <<<"$wanted" &&
        diff <(rpm -qpc "$out"/musterd-*.rpm 2>/dev/null) - <<<"$wanted"
}

# All that Git has of it, hidden files too; as it is.
monitoring_is_there() {
    local name
    (cd "$top" && git ls-files monitoring | grep -v '/.gitignore$') >"$scratch/monitoring"
    [ -s "$scratch/monitoring" ] || { echo "nothing is below monitoring/"; return 1; }
    while read -r name; do
        cmp "$top/$name" "$root/usr/share/musterd/$name" || return 1
    done <"$scratch/monitoring"
}

# Lines longer than a page's width are the shipped file's, and what mandoc says of style is no fault.
page_is_sound() { mandoc -Tlint -W warning "$1"; }
page_shows() { # PAGE TEXT...
    local page=$1 shown text
    shift
    shown=$(MANWIDTH=100 man -l "$page" | col -b)
    for text; do grep -qF -- "$text" <<<"$shown" || { echo "no $text in $shown"; return 1; }; done
}

completes() { # WORDS CANDIDATE
    local found
    # shellcheck disable=SC2016 # for the inner shell
    found=$(bash -c '
        source "$1"
        COMP_WORDS=($2 "") COMP_CWORD=$(set -- $2; echo $#) COMPREPLY=()
        _musterd musterd "" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf "%s\n" "${COMPREPLY[@]}"' - "$root/usr/share/bash-completion/completions/musterd" "$1")
    grep -qx -- "$2" <<<"$found" || { echo "$found"; return 1; }
}

# The program as a user of it would look at it: nothing of the machine that it was built on.
no_path_of_the_builder() {
    local found
    found=$(strings -n 6 "$root/usr/bin/musterd" | grep -F -e "$top" -e "${CARGO_HOME:-$HOME/.cargo}" | head -n 5)
    [ -z "$found" ] || { echo "$found"; return 1; }
}

# -----------------------------------------------------------------------------------------------------

check "both kinds of package have the same files" same_files
root=$scratch/deb/deb
check "configuration, and nothing else, is kept" configuration_is_kept
check "monitoring/ is in the packages" monitoring_is_there
check "lintian" lintian_is_silent
check "rpmlint" rpmlint_is_silent
for page in "$root"/usr/share/man/man?/*.gz; do
    check "$(basename "$page") is sound" page_is_sound "$page"
done
check "musterd(1) shows" page_shows "$root/usr/share/man/man1/musterd.1.gz" musterd-report MUSTERD_SOCKET
check "musterd.toml(5) shows" page_shows "$root/usr/share/man/man5/musterd.toml.5.gz" '[http]' 'max_scrapes = 16'
check "musterd-ledger(7) shows" page_shows "$root/usr/share/man/man7/musterd-ledger.7.gz" records_end HANDSHAKE
check "bash completes commands" completes "musterd" check-config
check "bash completes options" completes "musterd report" --agent
check "no path of the builder is in the program" no_path_of_the_builder
exit "$failed"
