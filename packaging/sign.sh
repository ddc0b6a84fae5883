#!/usr/bin/env bash
# sign.sh FOLDER - signs the rpms in FOLDER, and writes SHA256SUMS and SHA256SUMS.asc of all that is there,
# the public key (musterd.asc) included. Signs with the first secret key of the user's GnuPG, or with the
# armoured one in $MUSTERD_SIGNING_KEY.
set -euo pipefail

cd "$1"
home=
if [ -n "${MUSTERD_SIGNING_KEY:-}" ]; then
    home=$(mktemp -d)
    trap 'rm -rf "$home"' EXIT
    export GNUPGHOME=$home
    gpg --batch --quiet --import <<<"$MUSTERD_SIGNING_KEY"
fi
key=$(gpg --batch --list-secret-keys --with-colons | awk -F: '/^fpr/ { print $10; exit }')
[ -n "$key" ] || { echo "there is no secret key" >&2; exit 1; }

rpmsign --define "_gpg_name $key" --define "__gpg $(command -v gpg)" --addsign ./*.rpm
rm -f SHA256SUMS SHA256SUMS.asc
gpg --batch --yes --armor --output musterd.asc --export "$key"
sums=$(sha256sum -- *)
echo "$sums" >SHA256SUMS
gpg --batch --yes --local-user "$key" --armor --detach-sign SHA256SUMS
gpg --batch --verify SHA256SUMS.asc SHA256SUMS
