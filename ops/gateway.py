"""What the API's gateway answers by itself, and how many requests it lets through."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from chalicelib.api import RETRY_AFTER_SECONDS
from chalicelib.auth import UNAUTHENTICATED
from chalicelib.headers import EXPOSED, REQUEST_ID, SECURITY

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.literals import GatewayResponseTypeType
    from mypy_boto3_apigateway.type_defs import PatchOperationTypeDef


class Response(TypedDict, total=False):
    """PutGatewayResponse's parameters."""

    statusCode: str
    responseParameters: dict[str, str]
    responseTemplates: dict[str, str]


_ITS_OWN_WORDS = "$context.error.messageString"  # a string of JSON, in its quotes
_UNCHECKED = "The token cannot be checked at the moment; try again shortly."
_REFUSED: Mapping["GatewayResponseTypeType", tuple[HTTPStatus, str]] = {
    "ACCESS_DENIED": (HTTPStatus.FORBIDDEN, "The token does not allow this."),
    "API_CONFIGURATION_ERROR": (HTTPStatus.INTERNAL_SERVER_ERROR, "The API is not set up as it should be."),
    # An authorizer that fails, or is throttled, is one or the other.
    "AUTHORIZER_CONFIGURATION_ERROR": (HTTPStatus.SERVICE_UNAVAILABLE, _UNCHECKED),
    "AUTHORIZER_FAILURE": (HTTPStatus.SERVICE_UNAVAILABLE, _UNCHECKED),
    "BAD_REQUEST_BODY": (HTTPStatus.BAD_REQUEST, _ITS_OWN_WORDS),
    "BAD_REQUEST_PARAMETERS": (HTTPStatus.BAD_REQUEST, _ITS_OWN_WORDS),
    "EXPIRED_TOKEN": (HTTPStatus.FORBIDDEN, "The signature of this request has expired."),
    "INTEGRATION_FAILURE": (HTTPStatus.GATEWAY_TIMEOUT, "The API did not answer; try again."),
    "INTEGRATION_TIMEOUT": (HTTPStatus.GATEWAY_TIMEOUT, "The API did not answer in time; try again."),
    "INVALID_API_KEY": (HTTPStatus.FORBIDDEN, "The API key is not valid."),
    "INVALID_SIGNATURE": (HTTPStatus.FORBIDDEN, "The signature of this request is not valid."),
    # It says so of every path and method that it does not know.
    "MISSING_AUTHENTICATION_TOKEN": (HTTPStatus.NOT_FOUND, "There is no such route, or not by this method."),
    "QUOTA_EXCEEDED": (HTTPStatus.TOO_MANY_REQUESTS, "This API key has no requests left."),
    "REQUEST_TOO_LARGE": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large."),
    "RESOURCE_NOT_FOUND": (HTTPStatus.NOT_FOUND, "There is no such route."),
    "THROTTLED": (HTTPStatus.TOO_MANY_REQUESTS, "There are too many requests at a time; try again."),
    "UNAUTHORIZED": (HTTPStatus.UNAUTHORIZED, UNAUTHENTICATED),
    "UNSUPPORTED_MEDIA_TYPE": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is of a type that is not taken."),
    "WAF_FILTERED": (HTTPStatus.FORBIDDEN, "The request was filtered out."),
}
_PASSING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


def refusal(status: HTTPStatus | None, title: str, detail: str) -> Response:
    problem = {"type": "about:blank", "title": title, **({"status": status.value} if status else {})}
    quoted = detail if detail == _ITS_OWN_WORDS else json.dumps(detail)
    response: Response = {
        "responseParameters": {
            f"gatewayresponse.header.{REQUEST_ID}": "context.requestId",
            **{f"gatewayresponse.header.{name}": f"'{value}'" for name, value in _headers(status).items()},
        },
        # The type by which it finds a template; the type that it sends is a header.
        "responseTemplates": {"application/json": f'{json.dumps(problem)[:-1]}, "detail": {quoted}}}'},
    }
    if status:
        response["statusCode"] = str(status.value)
    return response


def _headers(status: HTTPStatus | None) -> dict[str, str]:
    headers = {
        **SECURITY,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": ",".join(EXPOSED),
        "Content-Type": "application/problem+json",
    }
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in _PASSING:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return headers


RESPONSES: Mapping["GatewayResponseTypeType", Response] = {
    **{kind: refusal(status, status.phrase, detail) for kind, (status, detail) in _REFUSED.items()},
    # These two are for what is not named above, and a status that is set here would be that of all of it.
    "DEFAULT_4XX": refusal(None, "The request was refused", _ITS_OWN_WORDS),
    "DEFAULT_5XX": refusal(None, "The API failed", _ITS_OWN_WORDS),
}
_DEPLOYED = f"Gateway responses {hashlib.sha256(json.dumps(RESPONSES).encode()).hexdigest()[:16]}"
_LIMITS = {
    "throttling/rateLimit": ("throttlingRateLimit", "ApiRateLimit", "requests a second"),
    "throttling/burstLimit": ("throttlingBurstLimit", "ApiBurstLimit", "at a time"),
}


@dataclass(frozen=True)
class Gateway:
    client: "APIGatewayClient"
    api_id: str
    api_stage: str
    outputs: Mapping[str, str]  # of the stage's stack

    def finish(self) -> list[str]:
        """Sets what differs, and says what that was."""
        return [*self._set_responses(), *self._deploy(), *self._set_limits()]

    def _set_responses(self) -> list[str]:
        found = self.client.get_gateway_responses(restApiId=self.api_id)["items"]
        current = {response["responseType"]: response for response in found}
        changed = [kind for kind in RESPONSES if not _is_set(current.get(kind, {}), RESPONSES[kind])]
        for kind in changed:
            self.client.put_gateway_response(restApiId=self.api_id, responseType=kind, **RESPONSES[kind])
        return [f"API: set {len(changed)} of the answers that its gateway gives by itself"] if changed else []

    def _deploy(self) -> list[str]:
        """Responses take effect with a deployment, which bears their mark: it may not have come to that."""
        stage = self.client.get_stage(restApiId=self.api_id, stageName=self.api_stage)
        deployment = self.client.get_deployment(restApiId=self.api_id, deploymentId=stage["deploymentId"])
        if deployment.get("description") == _DEPLOYED:
            return []
        self.client.create_deployment(
            restApiId=self.api_id,
            stageName=self.api_stage,
            description=_DEPLOYED,
            tracingEnabled=stage.get("tracingEnabled", False),  # else it may not stay as Chalice set it
        )
        return [f"API: deployed to its stage {self.api_stage}"]

    def _set_limits(self) -> list[str]:
        stage = self.client.get_stage(restApiId=self.api_id, stageName=self.api_stage)
        settings: Mapping[str, Any] = stage.get("methodSettings", {}).get("*/*", {})
        patches: list[PatchOperationTypeDef] = []
        changes = []
        for path, (setting, output, unit) in _LIMITS.items():
            limit = self.outputs[output]
            if settings.get(setting) != float(limit):
                patches.append({"op": "replace", "path": f"/*/*/{path}", "value": limit})
                changes.append(f"API: lets through {limit} {unit}")
        if patches:
            self.client.update_stage(restApiId=self.api_id, stageName=self.api_stage, patchOperations=patches)
        return changes


def _is_set(current: Mapping[str, Any], response: Response) -> bool:
    """One that is not set shows what the default says."""
    return not current.get("defaultResponse", True) and all(
        current.get(name) == value for name, value in response.items()
    )
