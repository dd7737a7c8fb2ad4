import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.endpoint import Endpoint
from tests.local_cloud.conftest import CONFIG

FUNCTION = (
    "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:us-east-1:123456789012:function:f/invocations"
)
AUTHORIZER = FUNCTION.replace(":f/", ":a/")
PROXY = {
    "type": "aws_proxy",
    "uri": FUNCTION,
    "httpMethod": "POST",
    "passthroughBehavior": "when_no_match",
    "contentHandling": "CONVERT_TO_TEXT",
    "responses": {"default": {"statusCode": "200"}},
}
ANSWER = {"200": {"description": "200 response", "schema": {"$ref": "#/definitions/Empty"}}}


def operation(**more: Any) -> dict[str, Any]:
    return {"responses": ANSWER, "x-amazon-apigateway-integration": PROXY, **more}


def document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    """As Chalice writes it."""
    return {
        "swagger": "2.0",
        "info": {"version": "1.0", "title": "tiny"},
        "schemes": ["https"],
        "paths": paths,
        "definitions": {"Empty": {"type": "object", "title": "Empty Schema"}},
        "x-amazon-apigateway-binary-media-types": ["image/png"],
        **more,
    }


@pytest.fixture
def gateway(endpoint: Endpoint, session: boto3.Session) -> Any:
    return session.client("apigateway", endpoint_url=endpoint.url, config=CONFIG)


def imported(gateway: Any, body: dict[str, Any], **parameters: str) -> str:
    return str(gateway.import_rest_api(body=json.dumps(body), parameters=parameters)["id"])


def methods(gateway: Any, api_id: str) -> dict[tuple[str, str], dict[str, Any]]:
    resources = gateway.get_resources(restApiId=api_id, embed=["methods"])["items"]
    return {
        (name, resource["path"]): method
        for resource in resources
        for name, method in resource.get("resourceMethods", {}).items()
    }


def test_an_import_makes_the_api_that_the_document_describes(gateway: Any) -> None:
    body = document({"/": {"get": operation()}})

    api = gateway.get_rest_api(restApiId=imported(gateway, body, endpointConfigurationTypes="REGIONAL"))

    assert (api["name"], api["version"], api["binaryMediaTypes"]) == ("tiny", "1.0", ["image/png"])
    assert api["endpointConfiguration"] == {"types": ["REGIONAL"]}
    assert "description" not in api


def test_an_import_makes_a_resource_of_each_part_of_a_path(gateway: Any) -> None:
    paths = ["/labels/{label}/images", "/images", "/images/{image_id}/labels/{label}", "/images/{image_id}"]
    api_id = imported(gateway, document({path: {"get": operation()} for path in paths}))

    resources = gateway.get_resources(restApiId=api_id)["items"]

    assert sorted(resource["path"] for resource in resources) == [
        "/",
        "/images",
        "/images/{image_id}",
        "/images/{image_id}/labels",
        "/images/{image_id}/labels/{label}",
        "/labels",
        "/labels/{label}",
        "/labels/{label}/images",
    ]
    assert methods(gateway, api_id).keys() == {("GET", path) for path in paths}


def test_a_method_is_what_its_operation_says(gateway: Any) -> None:
    parameters = [{"name": "image_id", "in": "path", "required": True, "type": "string"}]
    api_id = imported(gateway, document({"/images/{image_id}": {"get": operation(parameters=parameters)}}))

    method = methods(gateway, api_id)["GET", "/images/{image_id}"]

    integration = method.pop("methodIntegration")
    assert method == {
        "httpMethod": "GET",
        "authorizationType": "NONE",
        "apiKeyRequired": False,
        "requestParameters": {"method.request.path.image_id": True},
        "methodResponses": {
            "200": {"statusCode": "200", "responseModels": {"application/json": "Empty"}},
        },
    }
    assert integration == {
        "type": "AWS_PROXY",
        "uri": FUNCTION,
        "httpMethod": "POST",
        "passthroughBehavior": "WHEN_NO_MATCH",
        "contentHandling": "CONVERT_TO_TEXT",
        "timeoutInMillis": 29_000,
        "cacheKeyParameters": [],
        "integrationResponses": {"200": {"statusCode": "200", "responseTemplates": {}}},
    }


def test_a_preflight_answer_is_a_mock_with_headers(gateway: Any) -> None:
    header = "Access-Control-Allow-Origin"
    preflight = {
        "responses": {"200": {**ANSWER["200"], "headers": {header: {"type": "string"}}}},
        "x-amazon-apigateway-integration": {
            "type": "mock",
            "requestTemplates": {"application/json": '{"statusCode": 200}'},
            "passthroughBehavior": "when_no_match",
            "contentHandling": "CONVERT_TO_TEXT",
            "responses": {
                "default": {
                    "statusCode": "200",
                    "responseParameters": {f"method.response.header.{header}": "'*'"},
                }
            },
        },
    }
    api_id = imported(gateway, document({"/": {"get": operation(), "options": preflight}}))

    method = methods(gateway, api_id)["OPTIONS", "/"]

    assert method["methodIntegration"]["type"] == "MOCK"
    assert method["methodResponses"]["200"]["responseParameters"] == {
        f"method.response.header.{header}": False
    }
    assert method["methodIntegration"]["integrationResponses"]["200"]["responseParameters"] == {
        f"method.response.header.{header}": "'*'"
    }


DEFINITIONS = {
    "api_token": {
        "in": "header",
        "type": "apiKey",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "custom",
        "x-amazon-apigateway-authorizer": {
            "type": "token",
            "authorizerUri": AUTHORIZER,
            "authorizerResultTtlInSeconds": 60,
        },
    },
    "pool": {
        "in": "header",
        "type": "apiKey",
        "name": "Token",
        "x-amazon-apigateway-authtype": "cognito_user_pools",
        "x-amazon-apigateway-authorizer": {
            "type": "cognito_user_pools",
            "providerARNs": ["arn:aws:cognito-idp:us-east-1:123456789012:userpool/p"],
        },
    },
    "iam": {
        "in": "header",
        "type": "apiKey",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    "api_key": {"in": "header", "type": "apiKey", "name": "x-api-key"},
}


@pytest.mark.parametrize(
    ("security", "authorization", "authorizer", "needs_key"),
    [
        pytest.param([], "NONE", None, False, id="open"),
        pytest.param([{"api_token": []}], "CUSTOM", "api_token", False, id="authorizer"),
        pytest.param([{"api_key": []}, {"api_token": []}], "CUSTOM", "api_token", True, id="and-key"),
        pytest.param([{"pool": ["read"]}], "COGNITO_USER_POOLS", "pool", False, id="user-pool"),
        pytest.param([{"iam": []}], "AWS_IAM", None, False, id="signature"),
        pytest.param([{"api_key": []}], "NONE", None, True, id="key"),
    ],
)
def test_a_method_asks_for_what_its_security_says(
    gateway: Any, security: list[Any], authorization: str, authorizer: str | None, needs_key: bool
) -> None:
    paths = {"/": {"get": operation(security=security)}}
    api_id = imported(gateway, document(paths, securityDefinitions=DEFINITIONS))

    method = methods(gateway, api_id)["GET", "/"]

    authorizers = {each["id"]: each["name"] for each in gateway.get_authorizers(restApiId=api_id)["items"]}
    assert (method["authorizationType"], method["apiKeyRequired"]) == (authorization, needs_key)
    assert authorizers.get(method.get("authorizerId", "")) == authorizer


def test_an_authorizer_is_what_its_definition_says(gateway: Any) -> None:
    body = document({"/": {"get": operation()}}, securityDefinitions={"api_token": DEFINITIONS["api_token"]})
    api_id = imported(gateway, body)

    [authorizer] = gateway.get_authorizers(restApiId=api_id)["items"]

    assert {**authorizer, "id": ""} == {
        "id": "",
        "name": "api_token",
        "type": "TOKEN",
        "authType": "custom",
        "authorizerUri": AUTHORIZER,
        "identitySource": "method.request.header.Authorization",
        "authorizerResultTtlInSeconds": 60,
    }


def test_overwriting_leaves_the_id_the_root_and_the_stages_and_nothing_else(gateway: Any) -> None:
    before = document({"/old": {"get": operation()}}, securityDefinitions=DEFINITIONS)
    api_id = imported(gateway, before, endpointConfigurationTypes="REGIONAL")
    gateway.create_deployment(restApiId=api_id, stageName="dev")
    gateway.put_gateway_response(restApiId=api_id, responseType="THROTTLED", statusCode="429")
    root = gateway.get_rest_api(restApiId=api_id)["rootResourceId"]

    after = document({"/": {"get": operation()}, "/new": {"get": operation()}})
    api = gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=json.dumps(after))

    assert methods(gateway, api_id).keys() == {("GET", "/"), ("GET", "/new")}
    assert gateway.get_authorizers(restApiId=api_id)["items"] == []
    assert gateway.get_gateway_response(restApiId=api_id, responseType="THROTTLED")["defaultResponse"]
    assert api["rootResourceId"] == root
    assert api["endpointConfiguration"] == {"types": ["REGIONAL"]}
    assert [stage["stageName"] for stage in gateway.get_stages(restApiId=api_id)["item"]] == ["dev"]


def test_merging_adds_to_what_is_there(gateway: Any) -> None:
    api_id = imported(gateway, document({"/a": {"get": operation()}}))

    more = document({"/a": {"post": operation()}, "/a/b": {"get": operation()}})
    gateway.put_rest_api(restApiId=api_id, mode="merge", body=json.dumps(more))

    assert methods(gateway, api_id).keys() == {("GET", "/a"), ("POST", "/a"), ("GET", "/a/b")}
    paths = [resource["path"] for resource in gateway.get_resources(restApiId=api_id)["items"]]
    assert sorted(paths) == ["/", "/a", "/a/b"]


def test_a_deployment_leaves_its_stage_s_settings(gateway: Any) -> None:
    api_id = imported(gateway, document({"/": {"get": operation()}}))
    first = gateway.create_deployment(restApiId=api_id, stageName="dev", tracingEnabled=False)["id"]
    limit = {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "5"}
    gateway.update_stage(restApiId=api_id, stageName="dev", patchOperations=[limit])

    second = gateway.create_deployment(restApiId=api_id, stageName="dev", tracingEnabled=True)["id"]

    stage = gateway.get_stage(restApiId=api_id, stageName="dev")
    assert stage["deploymentId"] == second != first
    assert stage["tracingEnabled"] is True
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 5


def test_each_type_of_refusal_has_a_response_of_api_gateway_s_own(gateway: Any) -> None:
    api_id = imported(gateway, document({"/": {"get": operation()}}))

    responses = gateway.get_gateway_responses(restApiId=api_id)["items"]

    known = gateway.meta.service_model.shape_for("GatewayResponseType").enum
    assert sorted(response["responseType"] for response in responses) == sorted(known)
    assert all(response["defaultResponse"] for response in responses)
    assert gateway.get_gateway_response(restApiId=api_id, responseType="INTEGRATION_TIMEOUT") | {
        "ResponseMetadata": None
    } == {
        "responseType": "INTEGRATION_TIMEOUT",
        "defaultResponse": True,
        "statusCode": "504",
        "responseParameters": {},
        "responseTemplates": {"application/json": '{"message":$context.error.messageString}'},
        "ResponseMetadata": None,
    }


def test_a_response_that_was_not_set_follows_the_default_of_its_kind(gateway: Any) -> None:
    api_id = imported(gateway, document({"/": {"get": operation()}}))
    header = {"gatewayresponse.header.A": "'b'"}

    gateway.put_gateway_response(restApiId=api_id, responseType="DEFAULT_4XX", responseParameters=header)

    parameters = {
        response["responseType"]: response["responseParameters"]
        for response in gateway.get_gateway_responses(restApiId=api_id)["items"]
    }
    assert (parameters["THROTTLED"], parameters["INTEGRATION_TIMEOUT"]) == (header, {})
    throttled = gateway.get_gateway_response(restApiId=api_id, responseType="THROTTLED")
    assert (throttled["statusCode"], throttled["defaultResponse"]) == ("429", True)


def test_a_response_that_is_deleted_is_api_gateway_s_own_again(gateway: Any) -> None:
    api_id = imported(gateway, document({"/": {"get": operation()}}))
    gateway.put_gateway_response(restApiId=api_id, responseType="UNAUTHORIZED", statusCode="404")

    gateway.delete_gateway_response(restApiId=api_id, responseType="UNAUTHORIZED")

    response = gateway.get_gateway_response(restApiId=api_id, responseType="UNAUTHORIZED")
    assert (response["statusCode"], response["defaultResponse"]) == ("401", True)


def test_an_api_that_is_not_there_is_not_found(gateway: Any) -> None:
    api_id = imported(gateway, document({"/": {"get": operation()}}))

    gateway.delete_rest_api(restApiId=api_id)

    with pytest.raises(ClientError, match="NotFoundException"):
        gateway.delete_rest_api(restApiId=api_id)
    with pytest.raises(ClientError, match="NotFoundException"):
        gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=json.dumps(document({})))


def test_openapi_3_is_imported_as_moto_does(gateway: Any) -> None:
    integration = {**PROXY, "type": "AWS_PROXY"}
    body = {
        "openapi": "3.0.1",
        "info": {"title": "tiny", "version": "1", "description": "as moto wants it"},
        "paths": {"/a": {"get": operation() | {"x-amazon-apigateway-integration": integration}}},
    }
    api_id = imported(gateway, body)

    gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=json.dumps(body))

    assert methods(gateway, api_id).keys() == {("GET", "/a")}
