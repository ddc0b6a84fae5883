"""A receiver of notifications for tests: Slack's webhook over HTTP, and a mail server that wants a password."""

import base64
import json
import socketserver
import threading
from dataclasses import dataclass
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "alertmanager@example.net", "only for this test"


@dataclass
class Notice:
    """What has come: `to` is a channel or an address."""

    to: str
    title: str
    text: str


class Sink:
    """Both servers, on free ports of 127.0.0.1, and what they have received."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.refused_logins = 0
        self.slack = _serve(ThreadingHTTPServer(("127.0.0.1", 0), self._slack_handler()))
        self.mail = _serve(_MailServer(("127.0.0.1", 0), self._mail_handler()))

    def _slack_handler(self) -> type:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for part in posted["attachments"]:
                    sink.notices.append(Notice(posted["channel"], part["title"], part["text"]))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _mail_handler(self) -> type:
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.to, self.known = [], False
                self._say("220 sink")
                while line := self.rfile.readline().decode().rstrip("\r\n"):
                    if line == "QUIT":
                        self._say("221 bye")
                        return
                    self._answer(line)

            def _answer(self, line: str) -> None:
                verb = line.split(" ")[0].upper()
                if verb == "EHLO":
                    self._say("250-sink")
                    self._say("250 AUTH PLAIN")
                elif verb == "AUTH":
                    given = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                    self.known = given[1:] == [USER, PASSWORD]
                    sink.refused_logins += not self.known
                    self._say("235 welcome" if self.known else "535 no")
                elif not self.known:
                    self._say("530 who are you")
                elif verb == "RCPT":
                    self.to.append(line.split("<")[1].split(">")[0])
                    self._say("250 ok")
                elif verb == "DATA":
                    self._say("354 go on")
                    self._take()
                    self._say("250 ok")
                else:
                    self._say("250 ok")

            def _take(self) -> None:
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
                mail = message_from_string("\n".join(lines), policy=policy.default)
                body = mail.get_body(("plain",))
                for to in self.to:
                    sink.notices.append(Notice(to, mail["Subject"], body.get_content() if body else ""))

            def _say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

        return Handler


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


def _serve(server: socketserver.BaseServer) -> int:
    """Serves in the background; the port."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
