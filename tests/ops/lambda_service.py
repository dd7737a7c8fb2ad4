"""Lambda on loopback, which invokes the app's functions and waits for their answers."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from local_cloud.functions import Function


@contextmanager
def invoking(functions: Mapping[str, Function]) -> Iterator[str]:
    """Its URL. The functions are by their names on AWS; an ARN may name them too.

    https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = unquote(self.path.split("/")[3]).rpartition(":")[2]
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            outcome = functions[name].invoke(event)
            self.send_response(200)
            if outcome.error is not None:
                self.send_header("X-Amz-Function-Error", "Unhandled")
            failure = {"errorMessage": str(outcome.error), "errorType": type(outcome.error).__name__}
            answer = json.dumps(outcome.answer if outcome.error is None else failure).encode()
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
