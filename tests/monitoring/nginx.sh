#!/usr/bin/env bash
# nginx.sh - the example of a reverse proxy, packaging/nginx/musterd.conf, in the real nginx before a live musterd
# and a stand-in for Grafana: TLS, who may see what, headers, limits, gzip, WebSocket. Takes nginx from
# PATH or /usr/sbin; makes its own certificates.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
nginx=$(PATH=$PATH:/usr/sbin command -v nginx || true)
if [ ! -x "$nginx" ]; then
    echo "skipped: no nginx"
    exit 0
fi
# shellcheck source=tests/daemon.sh
source "$here/../daemon.sh"
start_musterd

folder=$scratch/nginx
mkdir "$folder"
(
    cd "$folder"
    issue() { # NAME SUBJECT AUTHORITY: a key, and a certificate by the authority
        openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -out "$1.csr"
        openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -CAcreateserial -copy_extensions copy -days 2 -out "$1.crt"
    }
    for authority in clients strangers; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout $authority.key -subj "/CN=$authority" -out $authority.crt
    done
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout server.key -subj "/CN=monitoring.example.org" \
        -addext "subjectAltName=DNS:monitoring.example.org" -out server.crt
    issue prometheus prometheus clients
    issue stranger stranger strangers
) >"$scratch/openssl.log" 2>&1 || { cat "$scratch/openssl.log"; exit 1; }

# The example with other ports and paths; each must have been in it.
http=$(free_port) https=$(free_port) grafana=$(free_port)
cp "$top/packaging/nginx/musterd.conf" "$folder/example.conf"
put() { # TEXT OTHER
    grep -qF "$1" "$folder/example.conf" || { echo "the example has no $1"; exit 1; }
    sed -i "s|$1|$2|g" "$folder/example.conf"
}
put "listen 80;" "listen 127.0.0.1:$http;"
put "listen 443 ssl" "listen 127.0.0.1:$https ssl"
put "/etc/nginx/musterd/" "$folder/"
put "127.0.0.1:9089" "${musterd_url#http://}"
put "127.0.0.1:3000" "127.0.0.1:$grafana"
cat >"$folder/nginx.conf" <<NGINX
daemon off;
worker_processes 1;
pid $folder/pid;
error_log $folder/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    include $folder/example.conf;
}
NGINX

# With no privilege: root becomes nobody.
unprivileged=()
if [ "$(id -u)" = 0 ]; then
    chmod 711 "$scratch"
    chown -R nobody "$folder"
    unprivileged=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
"${unprivileged[@]}" "$nginx" -q -t -e "$folder/error.log" -c "$folder/nginx.conf"
start nginx "${unprivileged[@]}" "$nginx" -e "$folder/error.log" -c "$folder/nginx.conf"
answers_tcp() {
    for _ in $(seq 100); do
        if python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null; then return; fi
        sleep 0.1
    done
    cat "$scratch/nginx.log" "$folder/error.log"
    exit 1
}
answers_tcp "$https"
python3 -B "$here/nginx.py" "$folder" "$http" "$https" "$grafana"
