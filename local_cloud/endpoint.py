"""AWS's services on one loopback port: moto behind the rules that moto itself does not keep."""

import json
import logging
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import IO, Any, Protocol, Self
from uuid import uuid4
from xml.sax.saxutils import escape

from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

from local_cloud import aws_chunked, checksums, moto_patches, s3_limits
from local_cloud.clock import SystemClock
from local_cloud.object_events import ObjectEvent, ObjectEvents
from local_cloud.presigned import Authentication, RefusedError
from local_cloud.s3_request import Environ, S3Request

HOST = "127.0.0.1"
_IN_MEMORY = 8 * 1024 * 1024
_BLOCK = 1024 * 1024
_READS = ("Get", "Query", "Scan", "Describe", "List", "Receive", "BatchGet", "TransactGet")
_logger = logging.getLogger(__name__)

StartResponse = Callable[..., Any]


class Reply(Protocol):
    """What a service answers."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Rekognition(Protocol):
    """The recognition service; `target` is the X-Amz-Target header, `RekognitionService.DetectLabels`."""

    def answer(self, target: str, body: bytes) -> Reply: ...


class PortInUseError(Exception):
    """The port is taken, most often by another local cloud."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} on {HOST} is in use by another program")
        self.port = port


class Endpoint:
    """All services on 127.0.0.1; port 0 picks a free one.

    moto's state is not made for concurrent requests (a conditional write reads, then writes), so it runs
    under one lock. Bodies are read before it and answers sent after it: a slow client blocks nobody.
    """

    def __init__(self, port: int = 4566, *, rekognition: Rekognition | None = None) -> None:
        moto_patches.apply()
        clock = SystemClock()
        self.on_object_event: Callable[[ObjectEvent], None] = lambda _: None
        self.on_write: Callable[[], None] = lambda: None
        self._rekognition = rekognition
        self._port = port
        self._events = ObjectEvents(clock)
        self._authentication = Authentication(Credentials("local", "local"), clock)
        self._s3 = create_backend_app("s3")
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port if self._server else self._port}"

    def start(self) -> Self:
        listener = _listen(self._port)
        with listener:  # werkzeug duplicates the descriptor
            self._server = make_server(
                HOST, 0, self, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="endpoint", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            response = self._answer(environ, body)
        return response(environ, start_response)

    def _answer(self, environ: Environ, body: IO[bytes]) -> Response:
        chunked = bool(environ.get("wsgi.input_terminated"))
        if not environ.get("CONTENT_LENGTH", "").strip().isdigit() and environ.get("CONTENT_LENGTH"):
            return _error(400, "InvalidArgument", "Content-Length is not a number.")
        if not _spool(environ, body):
            return _error(400, "IncompleteBody", "The body is shorter than its Content-Length header says.")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith("RekognitionService."):
            return self._recognise(target, body.read())
        if environ["PATH_INFO"].startswith("/moto-api"):
            return _error(403, "AccessDenied", "moto's own controls are closed.")
        if _is_s3(environ):
            return self._answer_s3(S3Request(environ), body, chunked)
        return self._run(environ)

    def _recognise(self, target: str, body: bytes) -> Response:
        if self._rekognition is None:
            return _error(501, "NotImplemented", "There is no recognition here.")
        reply = self._rekognition.answer(target, body)
        return Response(reply.body, reply.status, dict(reply.headers))

    def _answer_s3(self, request: S3Request, body: IO[bytes], chunked: bool) -> Response:
        try:
            _check_length(request, chunked)
            s3_limits.check(request, body)
            self._authentication.check(request)
            request = aws_chunked.unwrap(request, body)
            checksums.check(request, body)
        except RefusedError as refused:
            return _error(refused.status, refused.code, refused.message, refused.details)
        checksums.remember(request)
        return self._run_s3(request)

    def _run(self, environ: Environ) -> Response:
        with moto_patches.STATE:
            response = _run_moto(self._moto, environ)
            moto_patches.STATE.notify_all()
        if _may_write(environ):
            self.on_write()
        return response

    def _run_s3(self, request: S3Request) -> Response:
        # moto's routes match no line feed; the key it takes from the raw path
        request.environ["PATH_INFO"] = request.environ["PATH_INFO"].replace("\n", " ")
        with moto_patches.STATE, self._events.watch(request) as events:
            response = _run_moto(self._s3, request.environ)
        for event in events:
            self.on_object_event(event)
        return response


class _RequestHandler(MotoRequestHandler):  # type: ignore[misc]
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Requests are not news."""

    def log(self, kind: str, message: str, *args: object) -> None:
        _logger.log(logging.ERROR if kind == "error" else logging.DEBUG, message, *args)


def check_free(port: int) -> None:
    """Raises PortInUseError."""
    _listen(port).close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(port) from error
    listener.listen(128)
    return listener


def _spool(environ: Environ, body: IO[bytes]) -> bool:
    """Read the whole body away from the connection; say whether all of it came."""
    declared = environ.get("CONTENT_LENGTH") or None
    source: IO[bytes] = environ["wsgi.input"]
    left = int(declared) if declared else (None if environ.get("wsgi.input_terminated") else 0)
    try:
        _copy(source, body, left)
    except OSError:
        return False
    size = body.tell()
    body.seek(0)
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ |= {"wsgi.input": body, "CONTENT_LENGTH": str(size), "wsgi.input_terminated": True}
    return declared is None or size == int(declared)


def _copy(source: IO[bytes], body: IO[bytes], left: int | None) -> None:
    while left is None or left > 0:
        block = source.read(_BLOCK if left is None else min(_BLOCK, left))
        if not block:
            return
        body.write(block)
        left = None if left is None else left - len(block)


def _is_s3(environ: Environ) -> bool:
    if authorization := environ.get("HTTP_AUTHORIZATION"):
        return "/s3/aws4_request" in authorization or authorization.startswith("AWS ")
    form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    query_protocol = environ["REQUEST_METHOD"] == "POST" and form and environ["PATH_INFO"] == "/"
    return not environ.get("HTTP_X_AMZ_TARGET") and not query_protocol


def _may_write(environ: Environ) -> bool:
    """Whether streams or queues may have something new after it."""
    service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
    return service.startswith(("DynamoDB_", "AmazonSQS")) and not operation.startswith(_READS)


def _run_moto(app: Any, environ: Environ) -> Response:
    try:
        blocks, status, headers = run_wsgi_app(app, environ, buffered=True)
        return Response([b"".join(blocks)], status, headers)  # a list: bytes would reset a HEAD's length
    except Exception:
        _logger.exception("moto failed", extra={"path": environ["PATH_INFO"]})
        return _internal_error(environ)


def _internal_error(environ: Environ) -> Response:
    message = "We encountered an internal error. Please try again."
    if "HTTP_X_AMZ_TARGET" not in environ:
        return _error(500, "InternalError", message)
    body = json.dumps({"__type": "InternalServerError", "message": message})
    return Response(body, 500, content_type="application/x-amz-json-1.0")


def _check_length(request: S3Request, chunked: bool) -> None:
    if chunked and request.method == "PUT" and "x-amz-decoded-content-length" not in request.headers:
        raise RefusedError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")


def _error(status: int, code: str, message: str, details: Mapping[str, str] | None = None) -> Response:
    """S3's way to say no."""
    fields = {"Code": code, "Message": message, **(details or {}), "RequestId": uuid4().hex[:16].upper()}
    elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{elements}</Error>'
    return Response(body, status, content_type="application/xml")
