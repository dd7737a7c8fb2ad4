"""What every answer carries beside its body: its request's id, and what browsers are to mind."""

from collections.abc import Callable, Mapping
from typing import Any

from chalice.app import CORSConfig, Request, Response

# https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers
SECURITY: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NOTHING_TO_LOAD = "default-src 'none'; frame-ancestors 'none'"
REQUEST_ID = "X-Request-Id"
EXPOSED = ("ETag", "Retry-After", "WWW-Authenticate", REQUEST_ID)


def cors(origin: str) -> CORSConfig | None:
    """For pages of one other origin, or of all (*), which send their token in a header; None for no page."""
    if not origin:
        return None
    return CORSConfig(origin, ["If-None-Match"], EXPOSED, max_age=600)


class Headers:
    """Middleware: adds them to whatever is answered."""

    def __init__(self, allowed: CORSConfig | None) -> None:
        of_cors = allowed.get_access_control_headers() if allowed else {}
        self._always = {**SECURITY, "Content-Security-Policy": NOTHING_TO_LOAD, **of_cors}

    def __call__(self, request: Request | None, get_response: Callable[[Any], Response]) -> Response:
        response = get_response(request)
        response.headers = {**self._always, **_of_request(request), **response.headers}
        return response


def _of_request(request: Request | None) -> dict[str, str]:
    """The id by which API Gateway knows a request, else Lambda; the log has it too."""
    if request is None:
        return {}
    gateway = request.context.get("requestId")
    return {REQUEST_ID: gateway or getattr(request.lambda_context, "aws_request_id", "")}
