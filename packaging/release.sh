#!/usr/bin/env bash
# release.sh - the stages of a release on GitHub. Needs gh, and GH_TOKEN for all but the first:
#     check TAG                 the tag, Cargo.toml and CHANGELOG.md say the same version
#     candidate TAG FOLDER      a pre-release with the files in FOLDER, which nobody is led to
#     latest TAG                the pre-release is the latest release
#     withdraw TAG INSTEAD      the way back: INSTEAD is the latest release again, TAG a pre-release that says so
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"

# The section of CHANGELOG.md about a version.
notes() { awk -v head="## [$1]" 'index($0, "## [") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md; }

check() {
    local version=${1#v} base
    # A candidate, 1.2.3-rc.1, is of what will be 1.2.3.
    base=${version%%-*}
    grep -qx "version = \"$base\"" Cargo.toml || { echo "Cargo.toml is not of version $base" >&2; return 1; }
    grep -qE "^## \[$base\] - ([0-9]{4}-[0-9]{2}-[0-9]{2})$" CHANGELOG.md || [ "$base" != "$version" ] ||
        { echo "CHANGELOG.md has no date for $base" >&2; return 1; }
    [ -n "$(notes "$base")" ] || { echo "CHANGELOG.md says nothing of $base" >&2; return 1; }
}

case ${1:-} in
check) check "$2" ;;
candidate)
    check "$2"
    base=${2#v}
    notes "${base%%-*}" | gh release create "$2" --prerelease --verify-tag --title "$2" --notes-file - "$3"/*
    ;;
latest) gh release edit "$2" --prerelease=false --latest ;;
withdraw)
    gh release edit "$3" --prerelease=false --latest
    gh release edit "$2" --prerelease --notes "Withdrawn: use $3. Packages go back with
\`apt-get install --allow-downgrades musterd=…\` or \`dnf downgrade musterd\`; counts and configuration stay."
    ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 1
    ;;
esac
