import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import boto3
import pytest

from chalicelib import api
from chalicelib.auth import UNAUTHENTICATED
from local_cloud.endpoint import Endpoint
from ops.gateway import RESPONSES, Gateway

OUTPUTS = {"ApiRateLimit": "50", "ApiBurstLimit": "100"}
DOCUMENT = {
    "swagger": "2.0",
    "info": {"version": "1.0", "title": "image-labeller"},
    "paths": {
        "/health": {"get": {"responses": {}, "x-amazon-apigateway-integration": {"type": "mock"}}},
    },
}
SET = f"API: set {len(RESPONSES)} of the answers that its gateway gives by itself"
DEPLOYED = "API: deployed to its stage dev"
LIMITED = ["API: lets through 50 requests a second", "API: lets through 100 at a time"]
DEFAULTS = {"DEFAULT_4XX", "DEFAULT_5XX"}


@pytest.fixture
def client(endpoint: Endpoint) -> Any:
    return boto3.client("apigateway")


@pytest.fixture
def gateway(client: Any) -> Gateway:
    """Of an API as `chalice deploy` leaves it."""
    api_id = client.import_rest_api(body=json.dumps(DOCUMENT))["id"]
    client.create_deployment(restApiId=api_id, stageName="dev")
    return Gateway(client, api_id, "dev", OUTPUTS)


def deployments(gateway: Gateway) -> int:
    return len(gateway.client.get_deployments(restApiId=gateway.api_id)["items"])


def sent(kind: str, message: str) -> tuple[Any, dict[str, str]]:
    """The body and the headers that API Gateway makes of a response."""
    response: Mapping[str, Any] = RESPONSES[kind]  # type: ignore[index]
    [template] = response["responseTemplates"].values()
    headers = {
        name.removeprefix("gatewayresponse.header."): value.strip("'")
        for name, value in response["responseParameters"].items()
    }
    return json.loads(template.replace("$context.error.messageString", json.dumps(message))), headers


def test_every_type_that_api_gateway_knows_has_its_response(client: Any) -> None:
    known = client.meta.service_model.shape_for("GatewayResponseType").enum

    assert sorted(RESPONSES) == sorted(known)


@pytest.mark.parametrize("kind", sorted(RESPONSES.keys() - DEFAULTS))
def test_a_refusal_looks_like_the_app_s_own(kind: str) -> None:
    body, headers = sent(kind, 'Missing required request parameters: ["x"]')

    own = api.Problem(HTTPStatus(body["status"]), body["detail"]).response()
    assert body == own.body
    assert headers["Content-Type"] == own.headers["Content-Type"]
    assert RESPONSES[kind]["statusCode"] == str(own.status_code)  # type: ignore[index]


@pytest.mark.parametrize("kind", sorted(DEFAULTS))
def test_what_has_no_type_of_its_own_keeps_its_status(kind: str) -> None:
    body, _ = sent(kind, 'It said "no".')

    assert "statusCode" not in RESPONSES[kind]  # type: ignore[index]
    assert body.keys() == {"type", "title", "detail"}
    assert body["detail"] == 'It said "no".'


@pytest.mark.parametrize("kind", sorted(RESPONSES))
def test_a_page_of_another_origin_may_read_a_refusal(kind: str) -> None:
    assert sent(kind, "")[1]["Access-Control-Allow-Origin"] == "*"


def test_each_header_is_a_constant_or_the_id_of_the_request() -> None:
    values = [value for each in RESPONSES.values() for value in each["responseParameters"].values()]

    assert {value for value in values if (value[0], value[-1]) != ("'", "'")} == {"context.requestId"}
    assert [value for value in values if "'" in value[1:-1]] == []


def test_what_passes_says_when_to_come_back() -> None:
    passing = {kind for kind in RESPONSES if "Retry-After" in sent(kind, "")[1]}

    assert passing == {
        "AUTHORIZER_CONFIGURATION_ERROR",
        "AUTHORIZER_FAILURE",
        "INTEGRATION_FAILURE",
        "INTEGRATION_TIMEOUT",
        "QUOTA_EXCEEDED",
        "THROTTLED",
    }
    assert "Retry-After" in sent("THROTTLED", "")[1]["Access-Control-Expose-Headers"].split(",")


def test_a_request_without_a_token_is_told_how_to_send_one() -> None:
    body, headers = sent("UNAUTHORIZED", "")

    assert headers["WWW-Authenticate"] == "Bearer"
    assert body["detail"] == UNAUTHENTICATED


def test_an_unknown_route_is_not_found() -> None:
    body, _ = sent("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")

    assert (body["status"], body["detail"]) == (404, "There is no such route, or not by this method.")


def test_it_sets_the_responses_deploys_them_and_limits_the_stage(gateway: Gateway) -> None:
    changes = gateway.finish()

    found = gateway.client.get_gateway_responses(restApiId=gateway.api_id)["items"]
    stage = gateway.client.get_stage(restApiId=gateway.api_id, stageName="dev")
    unset = {"defaultResponse": False}
    assert changes == [SET, DEPLOYED, *LIMITED]
    assert {each["responseType"]: each for each in found} == {
        kind: {**unset, "responseType": kind, **response} for kind, response in RESPONSES.items()
    }
    assert deployments(gateway) == 2
    settings = stage["methodSettings"]["*/*"]
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (50, 100)


def test_a_second_time_there_is_nothing_to_do(gateway: Gateway) -> None:
    gateway.finish()

    assert gateway.finish() == []
    assert deployments(gateway) == 2


def test_a_later_deployment_wipes_the_responses_and_leaves_the_limits(gateway: Gateway) -> None:
    gateway.finish()
    gateway.client.put_rest_api(restApiId=gateway.api_id, mode="overwrite", body=json.dumps(DOCUMENT))
    gateway.client.create_deployment(restApiId=gateway.api_id, stageName="dev")

    assert gateway.finish() == [SET, DEPLOYED]


def test_responses_that_were_set_and_never_deployed_are_deployed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(gateway.client, "create_deployment", interrupt)
        with pytest.raises(KeyboardInterrupt):
            gateway.finish()

    assert gateway.finish() == [DEPLOYED, *LIMITED]


@pytest.mark.parametrize("traced", [True, False])
def test_a_stage_is_deployed_with_tracing_as_it_was(gateway: Gateway, traced: bool) -> None:
    gateway.client.create_deployment(restApiId=gateway.api_id, stageName="dev", tracingEnabled=traced)
    told: list[bool] = []
    gateway.client.meta.events.register(
        "provide-client-params.api-gateway.CreateDeployment",
        lambda params, **_: told.append(params.get("tracingEnabled")),
    )

    gateway.finish()

    assert told == [traced]


def interrupt(**_: object) -> None:
    raise KeyboardInterrupt


def test_only_what_differs_is_set(gateway: Gateway) -> None:
    gateway.finish()
    gateway.client.delete_gateway_response(restApiId=gateway.api_id, responseType="THROTTLED")
    limits = {**OUTPUTS, "ApiRateLimit": "7.5"}

    changes = Gateway(gateway.client, gateway.api_id, "dev", limits).finish()

    assert changes == [
        "API: set 1 of the answers that its gateway gives by itself",
        "API: lets through 7.5 requests a second",
    ]
