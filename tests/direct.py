"""The SDK's requests handed straight to the endpoint, for searches too long for sockets."""

import io
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from local_cloud.endpoint import Endpoint
from tests.interception import Call, Layer, intercept


def short_circuit(session: boto3.Session, endpoint: Endpoint) -> boto3.Session:
    """Makes every client of this session skip the socket; all else of the SDK and the endpoint runs."""
    return intercept(session, straight_to(endpoint))


def straight_to(endpoint: Endpoint) -> Layer:
    def send(call: Call) -> Any:
        body, status, headers = run_wsgi_app(endpoint, _environ(call.request), buffered=True)
        return response(call, int(status.split()[0]), dict(headers), b"".join(body))

    return send


def response(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> AWSResponse:
    return AWSResponse(call.request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


class _Raw(io.BytesIO):
    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


def _environ(request: AWSPreparedRequest) -> dict[str, Any]:
    url = urlsplit(request.url)
    environ = EnvironBuilder(
        path=url.path,
        base_url=f"{url.scheme}://{url.netloc}",
        query_string=url.query,
        method=request.method,
        headers=Headers([(name, _text(value)) for name, value in request.headers.items()]),
        data=_read(request.body),
    ).get_environ()
    return {**environ, "RAW_URI": request.url, "REQUEST_URI": request.url}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(body: Any) -> bytes:
    content = body.read() if hasattr(body, "read") else body or b""
    return content.encode() if isinstance(content, str) else content
