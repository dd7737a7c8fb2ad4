"""What a presigned URL was signed for, S3 holds to: method, path, each signed header, no other, its time.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from botocore.credentials import Credentials

from local_cloud.clock import Clock
from local_cloud.s3_request import S3Request

_ALGORITHM = "AWS4-HMAC-SHA256"
_WEEK = 7 * 24 * 60 * 60
_CLOCK_SKEW = timedelta(minutes=15)


class RefusedError(Exception):
    """S3 says no: its error code and message, its status, and what else stands in its XML."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True)
class _Authorization:
    """The X-Amz- parameters of a presigned URL."""

    access_key: str
    scope: str
    date: str
    lifetime: int
    signed_headers: list[str]
    signature: str
    payload: str

    @classmethod
    def read(cls, query: dict[str, str]) -> Self:
        try:
            access_key, _, scope = query["X-Amz-Credential"].partition("/")
            return cls(
                access_key=access_key,
                scope=scope,
                date=query["X-Amz-Date"],
                lifetime=int(query["X-Amz-Expires"]),
                signed_headers=query["X-Amz-SignedHeaders"].split(";"),
                signature=query["X-Amz-Signature"],
                payload=query.get("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
            )
        except (KeyError, ValueError):
            raise _malformed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
                "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
            ) from None

    @property
    def begins(self) -> datetime:
        try:
            return datetime.strptime(self.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise _malformed("X-Amz-Date must be in the ISO8601 Long Format") from None

    @property
    def ends(self) -> datetime:
        return self.begins + timedelta(seconds=self.lifetime)


@dataclass(frozen=True)
class Authentication:
    """Admits the requests that S3 would: signed in their headers (which moto believes), or by their URL."""

    credentials: Credentials
    clock: Clock

    def check(self, request: S3Request) -> None:
        """Raise RefusedError for a request that S3 would refuse."""
        if "X-Amz-Algorithm" in request.query or "X-Amz-Signature" in request.query:
            self._check_url(request)
        elif "AWSAccessKeyId" in request.query:
            raise RefusedError(
                400,
                "InvalidRequest",
                f"The authorization mechanism you have provided is not supported. Please use {_ALGORITHM}.",
            )
        elif "authorization" not in request.headers and request.method != "OPTIONS":
            raise RefusedError(403, "AccessDenied", "Access Denied")

    def _check_url(self, request: S3Request) -> None:
        authorization = _Authorization.read(request.query)
        if request.query["X-Amz-Algorithm"] != _ALGORITHM:
            raise _malformed(f"X-Amz-Algorithm only supports {_ALGORITHM}")
        self._check_time(authorization)
        _check_all_signed(request, authorization)
        if authorization.access_key != self.credentials.access_key:
            raise RefusedError(
                403,
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                AWSAccessKeyId=authorization.access_key,
            )
        self._check_signature(request, authorization)

    def _check_time(self, authorization: _Authorization) -> None:
        now = self.clock.now()
        if not 0 <= authorization.lifetime <= _WEEK:
            raise _malformed("X-Amz-Expires must be between 0 and 604800 seconds")
        if authorization.begins > now + _CLOCK_SKEW:
            raise RefusedError(403, "AccessDenied", "Request is not yet valid")
        if now > authorization.ends:
            times = {"Expires": f"{authorization.ends:%Y-%m-%dT%XZ}", "ServerTime": f"{now:%Y-%m-%dT%XZ}"}
            details = {"X-Amz-Expires": str(authorization.lifetime)} | times
            raise RefusedError(403, "AccessDenied", "Request has expired", **details)

    def _check_signature(self, request: S3Request, authorization: _Authorization) -> None:
        canonical = _canonical_request(request, authorization)
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join([_ALGORITHM, authorization.date, authorization.scope, hashed])
        key = reduce(_hmac, authorization.scope.split("/"), b"AWS4" + self.credentials.secret_key.encode())
        if not hmac.compare_digest(_hmac(key, text).hex(), authorization.signature):
            raise RefusedError(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                CanonicalRequest=canonical,
            )


def _malformed(message: str) -> RefusedError:
    return RefusedError(400, "AuthorizationQueryParametersError", message)


def _check_all_signed(request: S3Request, authorization: _Authorization) -> None:
    must = [name for name in request.headers if name == "host" or name.startswith("x-amz-")]
    if unsigned := sorted(set(must) - set(authorization.signed_headers)):
        raise RefusedError(
            403,
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )


def _canonical_request(request: S3Request, authorization: _Authorization) -> str:
    headers = [
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in authorization.signed_headers
    ]
    return "\n".join(
        [
            request.method,
            quote(unquote_to_bytes(request.raw_path), safe="/~"),
            _canonical_query(request.environ.get("QUERY_STRING", "")),
            "".join(headers),
            ";".join(authorization.signed_headers),
            authorization.payload,
        ]
    )


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name != "X-Amz-Signature")


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
