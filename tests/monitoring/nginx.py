"""Looks at nginx as its clients do, and stands in for Grafana behind it.

nginx.py FOLDER HTTP HTTPS GRAFANA     the folder of certificates, and ports
"""

import base64
import gzip
import hashlib
import http.client
import http.server
import os
import pathlib
import socket
import ssl
import sys
import threading
import time
import unittest
import warnings

FOLDER = pathlib.Path(sys.argv[1])
HTTP, HTTPS, GRAFANA = (int(port) for port in sys.argv[2:5])
NAME = "monitoring.example.org"
PAGE = b"{" + b'"page": "grafana", ' * 200 + b"}"


class Grafana(http.server.BaseHTTPRequestHandler):
    """A page, whatever is asked for, and a WebSocket that echoes bytes."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: else each answer waits for an acknowledgement
    seen = {}

    def do_GET(self):
        """Answers, or upgrades."""
        Grafana.seen = dict(self.headers)
        if self.headers.get("Upgrade") == "websocket" and self.headers.get("Connection") == "upgrade":
            key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
            self.send_response(101)
            for name, value in (
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", accept),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.flush()
            self.wfile.write(self.rfile.read(5))
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(PAGE)))
        self.send_header("X-Frame-Options", "deny")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        """Says nothing."""


def context(client=None, version=None):
    """TLS as the client with this certificate speaks it."""
    made = ssl.create_default_context(cafile=FOLDER / "server.crt")
    if client:
        made.load_cert_chain(FOLDER / f"{client}.crt", FOLDER / f"{client}.key")
    if version:
        # Where the library's own policy forbids it, the server must not be the one that would allow it.
        made.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version = made.maximum_version = version
    return made


def connect(client=None, version=None):
    """A TLS connection to nginx."""
    return context(client, version).wrap_socket(
        socket.create_connection(("127.0.0.1", HTTPS)), server_hostname=NAME
    )


class Client(http.client.HTTPSConnection):
    """HTTP on such a connection."""

    def __init__(self, client=None):
        super().__init__(NAME, HTTPS)
        self._client = client

    def connect(self):
        """Connects to where nginx is, by whatever name."""
        self.sock = connect(self._client)

    def get(self, path, **headers):
        """Status, headers and body."""
        self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.getresponse()
        return answer.status, answer.headers, answer.read()


def get(path, client=None, **headers):
    """One request on a connection of its own."""
    connection = Client(client)
    try:
        return connection.get(path, **headers)
    finally:
        connection.close()


class Proxy(unittest.TestCase):
    """What the example promises."""

    def test_plain_http_is_sent_to_https(self):
        connection = http.client.HTTPConnection("127.0.0.1", HTTP)
        connection.request("GET", "/d/musterd-fleet?x=1", headers={"Host": NAME})
        answer = connection.getresponse()
        self.assertEqual(
            (answer.status, answer.getheader("Location")), (301, f"https://{NAME}/d/musterd-fleet?x=1")
        )
        connection.close()

    def test_tls_is_new_enough(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with connect(version=version) as connection:
                self.assertEqual(connection.version().replace(".", "_"), version.name)
        with self.assertRaises(ssl.SSLError) as raised:
            connect(version=ssl.TLSVersion.TLSv1_1)
        self.assertIn("alert protocol version", str(raised.exception))

    def test_metrics_and_health_are_for_those_with_a_certificate(self):
        for path, word in (("/metrics", b"\nmusterd_build_info{"), ("/health", b'"status":')):
            self.assertEqual(get(path)[0], 403)
            self.assertEqual(get(path, "stranger")[0], 400)
            status, _, body = get(path, "prometheus")
            self.assertEqual(status, 200, body)
            self.assertIn(word, body)

    def test_probes_are_for_all(self):
        for path in ("/-/healthy", "/-/ready"):
            status, headers, body = get(path)
            self.assertEqual(status, 200)
            self.assertLess(len(body), 100)
            self.assertNotIn(b"grafana", body)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_nothing_else_of_musterd_is_there(self):
        for path in ("/", "/api/v1/agents", "/metrics/", "/-/other"):
            self.assertEqual(get(path, "prometheus")[2], PAGE)

    def test_answers_have_the_security_headers_whatever_they_are(self):
        for path, status in (
            ("/", 200),
            ("/-/healthy", 200),
            ("/metrics", 403),
            ("/api/live/x", 200),
            ("/login", 200),
        ):
            found, headers, _ = get(path)
            self.assertEqual(found, status)
            self.assertEqual(headers.get_all("Strict-Transport-Security"), ["max-age=31536000"])
            self.assertEqual(headers.get_all("X-Content-Type-Options"), ["nosniff"])
            self.assertEqual(headers.get_all("X-Frame-Options"), ["SAMEORIGIN"])
            self.assertIn("frame-ancestors 'self'", headers.get_all("Content-Security-Policy"))
            self.assertEqual(headers.get_all("Referrer-Policy"), ["strict-origin-when-cross-origin"])
            self.assertIn("camera=()", headers["Permissions-Policy"])
            self.assertEqual(headers["Server"], "nginx")

    def test_a_client_cannot_say_who_it_is(self):
        for path in ("/", "/api/live/x"):
            get(path, X_Forwarded_For="192.0.2.1", X_Real_IP="192.0.2.1")
            self.assertEqual(Grafana.seen["X-Forwarded-For"], "127.0.0.1")
            self.assertEqual(Grafana.seen["X-Real-IP"], "127.0.0.1")
            self.assertEqual(Grafana.seen["X-Forwarded-Proto"], "https")
            self.assertEqual(Grafana.seen["Host"], NAME)

    def test_answers_are_compressed_for_those_who_want_it(self):
        for path, client, word in (
            ("/metrics", "prometheus", b"musterd_build_info"),
            ("/", None, b"grafana"),
        ):
            _, headers, body = get(path, client, Accept_Encoding="gzip")
            self.assertEqual(headers["Content-Encoding"], "gzip")
            self.assertIn(word, gzip.decompress(body))
            _, headers, body = get(path, client)
            self.assertIsNone(headers["Content-Encoding"])
            self.assertIn(word, body)

    def burst(self, path, requests, rate, burst):
        """Sends many on one connection; as many must pass as the limit allows in the time that they took."""
        connection = Client()
        began = time.monotonic()
        found = [connection.get(path)[0] for _ in range(requests)]
        allowed = burst + 1 + rate * (time.monotonic() - began)
        connection.close()
        self.addCleanup(time.sleep, burst / rate)  # until the other tests may ask again
        self.assertEqual(set(found) - {200, 429}, set())
        self.assertGreaterEqual(found.count(200), min(burst // 2, requests))
        self.assertLessEqual(found.count(200), allowed + 1)
        if allowed + 1 < requests:
            self.assertIn(429, found)

    def test_a_client_gets_ten_probes_a_second(self):
        self.burst("/-/healthy", 80, rate=10, burst=20)

    def test_a_client_gets_ten_logins_a_second(self):
        self.burst("/login", 80, rate=10, burst=20)

    def test_a_client_gets_fifty_of_the_rest_a_second(self):
        self.burst("/", 250, rate=50, burst=100)

    def test_a_websocket_gets_through(self):
        key = base64.b64encode(os.urandom(16)).decode()
        with connect() as connection:
            connection.sendall(
                f"GET /api/live/ws HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            stream = connection.makefile("rb")
            self.assertIn(b" 101 ", stream.readline())
            while stream.readline().strip():
                pass
            connection.sendall(b"hello")
            self.assertEqual(stream.read(5), b"hello")


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", GRAFANA), Grafana)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    unittest.main(argv=sys.argv[:1])
