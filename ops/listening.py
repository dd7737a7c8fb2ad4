"""`python -m ops listen`: a receiver of callbacks on this machine, which shows what arrives."""

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rich.console import Console
from standardwebhooks import Webhook

from ops.problems import Problem

HOST = "127.0.0.1"
LONGEST = 64 * 1024  # bytes; a callback has 20 kB


@dataclass
class Listening:
    console: Console
    verifier: Webhook
    seen: set[str] = field(default_factory=set)

    def hear(self, headers: Any, body: bytes) -> HTTPStatus:
        """Shows a callback, and answers it: only what bears our signature is taken."""
        try:
            event = self.verifier.verify(body, headers)
        except Exception as error:  # noqa: BLE001 - the library has no class of its own for a malformed header
            self.console.print(f"Refused: {str(error)!a}", style="red")
            return HTTPStatus.BAD_REQUEST
        event_id = headers["webhook-id"]
        again = " once more" if event_id in self.seen else ""
        self.seen.add(event_id)
        self.console.print(f"{event['type']}  {event_id}  verified{again}", style="bold green")
        self.console.print(json.dumps(event, indent=2))
        return HTTPStatus.NO_CONTENT


def listen(console: Console, port: int, secret: str) -> None:
    """Until Ctrl-C. Raises Problem if the port is taken, or the secret is none."""
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(Listening(console, _verifier(secret))))
    except OSError as error:
        raise Problem(f"Port {port} is in use: choose another with --port.") from error
    with server:
        console.print(f"Listening on http://{HOST}:{server.server_port}/ until Ctrl-C.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("Stopped.")


def _verifier(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except Exception as error:
        raise Problem("The secret must be the Base64 of a key, as Secrets Manager has it.") from error


def _handler(listening: Listening) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length") or 0), LONGEST)
            self.send_response(listening.hear(self.headers, self.rfile.read(length)))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What arrives is shown by itself."""

    return Handler
