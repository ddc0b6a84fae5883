#!/usr/bin/env bash
# stage.sh deb|rpm - lays out, below target/package/deb or target/package/rpm, what packaging/files lists.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
cd "$top"
format=$1
root=target/package/$format

die() { echo "packaging/files: $*" >&2; exit 1; }

# place MODE SOURCE FILE - compressed where packages have it so.
place() {
    local mode=$1 source=$2 file=$3
    case $file in usr/share/man/*) file=$file.gz ;; esac
    [ ! -e "$root/$file" ] || die "$file twice"
    mkdir -p "$root/$(dirname "$file")"
    case $file in
    *.gz) gzip -9 --no-name --stdout "$source" >"$root/$file" ;;
    *) cp "$source" "$root/$file" ;;
    esac
    chmod "$mode" "$root/$file"
}

place_all() { # MODE DESTINATION SOURCE
    local mode=$1 to=$2 source=$3 file
    if [ -d "$source" ]; then
        while IFS= read -r file; do
            place "$mode" "$source/$file" "$to$(basename "$source")/$file"
        done < <(cd "$source" && find . -type f -not -path '*/__pycache__/*' -not -name .gitignore -printf '%P\n' | LC_ALL=C sort)
    elif [ "${to%/}" = "$to" ]; then
        place "$mode" "$source" "$to"
    else
        place "$mode" "$source" "$to$(basename "$source")"
    fi
}

umask 022
rm -rf "$root"
while read -r formats mode to sources; do
    case $formats in
    '' | '#'*) continue ;;
    all | "$format") ;;
    deb | rpm) continue ;;
    *) die "$formats is none of deb, rpm, all" ;;
    esac
    for source in $sources; do
        case $source in pages/*) source=target/package/$source ;; esac
        # A pattern that has matched nothing is still one.
        if [ -e "$source" ]; then
            place_all "$mode" "$to" "$source"
        elif [ "${source#*\*}" = "$source" ]; then
            die "there is no $source"
        else
            for match in $source; do
                if [ -e "$match" ]; then place_all "$mode" "$to" "$match"; fi
            done
        fi
    done
done <packaging/files
