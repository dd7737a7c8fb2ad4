"""API Gateway."""

import json
from collections.abc import Iterator
from typing import Any

import moto.apigateway.models as apigateway_models
import moto.apigateway.responses as apigateway_responses

from local_cloud.moto_patches.mending import Function, mend

Document = dict[str, Any]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_MESSAGE = {"application/json": '{"message":$context.error.messageString}'}
_STATUS_CODES = {
    "ACCESS_DENIED": "403",
    "API_CONFIGURATION_ERROR": "500",
    "AUTHORIZER_CONFIGURATION_ERROR": "500",
    "AUTHORIZER_FAILURE": "500",
    "BAD_REQUEST_BODY": "400",
    "BAD_REQUEST_PARAMETERS": "400",
    "DEFAULT_4XX": None,
    "DEFAULT_5XX": None,
    "EXPIRED_TOKEN": "403",
    "INTEGRATION_FAILURE": "504",
    "INTEGRATION_TIMEOUT": "504",
    "INVALID_API_KEY": "403",
    "INVALID_SIGNATURE": "403",
    "MISSING_AUTHENTICATION_TOKEN": "403",
    "QUOTA_EXCEEDED": "429",
    "REQUEST_TOO_LARGE": "413",
    "RESOURCE_NOT_FOUND": "404",
    "THROTTLED": "429",
    "UNAUTHORIZED": "401",
    "UNSUPPORTED_MEDIA_TYPE": "415",
    "WAF_FILTERED": "403",
}


def apply() -> None:
    backend, api = apigateway_models.APIGatewayBackend, apigateway_models.RestAPI
    answers = apigateway_responses.APIGatewayResponse
    mend(backend, "import_rest_api", _import_rest_api)
    mend(backend, "put_rest_api", _put_rest_api)
    mend(backend, "delete_rest_api", _delete_rest_api)
    mend(api, "create_deployment", _create_deployment)
    mend(api, "put_gateway_response", _put_gateway_response)
    mend(api, "get_gateway_response", _get_gateway_response)
    mend(api, "get_gateway_responses", _get_gateway_responses)
    mend(answers, "create_rest_api", _answer_create_rest_api)
    mend(answers, "create_deployment", _answer_create_deployment)


def _import_rest_api(original: Function) -> Function:
    """Swagger 2.0 is what Chalice sends (moto: OpenAPI 3 only, and not without a description)."""

    def import_rest_api(self: Any, document: Document, fail_on_warnings: bool) -> Any:
        if not _is_swagger(document):
            return original(self, document, fail_on_warnings)
        api = self.create_rest_api(document["info"]["title"], document["info"].get("description"))
        return self.put_rest_api(api.id, document, fail_on_warnings)

    return import_rest_api


def _put_rest_api(original: Function) -> Function:
    """Overwriting leaves an API's id and stages, and nothing that was set beside its document."""

    def put_rest_api(
        self: Any, api_id: str, document: Document, fail_on_warnings: bool, mode: str = "merge"
    ) -> Any:
        api = self.get_rest_api(api_id)
        if mode == "overwrite":
            for kept in (api.authorizers, api.gateway_responses, api.models, api.request_validators):
                kept.clear()
        if not _is_swagger(document):
            return original(self, api_id, document, fail_on_warnings, mode)
        if mode == "overwrite":
            api.resources = {api.default.id: api.default}
            api.default.resource_methods = {}
        _Import(self, api, document).run()
        return api

    return put_rest_api


def _is_swagger(document: Document) -> bool:
    return bool(document.get("swagger") == "2.0")


class _Import:
    """A Swagger 2.0 document with API Gateway's extensions becomes resources, methods and authorizers:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html"""

    def __init__(self, backend: Any, api: Any, document: Document) -> None:
        self._backend = backend
        self._api = api
        self._document = document
        self._definitions: Document = document.get("securityDefinitions", {})

    def run(self) -> None:
        self._set_properties()
        self._authorizers = {
            name: self._make_authorizer(name, definition).id
            for name, definition in self._definitions.items()
            if "x-amazon-apigateway-authorizer" in definition
        }
        for path, item in self._document["paths"].items():
            resource = self._resource(path)
            for name in _METHODS:
                if name in item:
                    self._make_method(resource, name.upper(), item[name])

    def _set_properties(self) -> None:
        self._api.version = self._document["info"].get("version")
        self._api.binaryMediaTypes = self._document.get("x-amazon-apigateway-binary-media-types", [])
        policy = self._document.get("x-amazon-apigateway-policy")
        self._api.policy = json.dumps(policy) if policy else None
        for name, schema in self._document.get("definitions", {}).items():
            self._api.add_model(name, "", json.dumps(schema), "application/json")

    def _make_authorizer(self, name: str, definition: Document) -> Any:
        settings: Document = definition["x-amazon-apigateway-authorizer"]
        return self._backend.create_authorizer(
            self._api.id,
            name,
            settings["type"].upper(),
            auth_type=definition.get("x-amazon-apigateway-authtype"),
            provider_arns=settings.get("providerARNs"),
            authorizer_uri=settings.get("authorizerUri"),
            authorizer_credentials=settings.get("authorizerCredentials"),
            identity_source=f"method.request.header.{definition['name']}",
            authorizer_result_ttl=settings.get("authorizerResultTtlInSeconds", 300),
        )

    def _resource(self, path: str) -> Any:
        resource = self._api.default
        for part in filter(None, path.split("/")):
            children = (each for each in self._api.resources.values() if each.parent_id == resource.id)
            known = {child.path_part: child for child in children}
            resource = known.get(part) or self._backend.create_resource(self._api.id, resource.id, part)
        return resource

    def _make_method(self, resource: Any, name: str, operation: Document) -> None:
        method = resource.add_method(
            name,
            request_parameters=dict(_request_parameters(operation)) or None,
            **self._authorization(operation),
        )
        for status, response in operation.get("responses", {}).items():
            parameters = {f"method.response.header.{header}": False for header in response.get("headers", {})}
            models = {"application/json": _model(response)} if "schema" in response else None
            method.create_response(status, models, parameters or None)
        if integration := operation.get("x-amazon-apigateway-integration"):
            self._integrate(resource.id, name, integration)

    def _authorization(self, operation: Document) -> Document:
        asked = {name: scopes for each in operation.get("security", []) for name, scopes in each.items()}
        settings: Document = {"authorization_type": "NONE", "api_key_required": False}
        for name, scopes in asked.items():
            kind = self._definitions[name].get("x-amazon-apigateway-authtype")
            if kind is None:
                settings["api_key_required"] = True
            elif kind == "awsSigv4":
                settings["authorization_type"] = "AWS_IAM"
            else:
                settings["authorization_type"] = "CUSTOM" if kind == "custom" else kind.upper()
                settings["authorizer_id"] = self._authorizers[name]
                settings["authorization_scopes"] = scopes or None
        return settings

    def _integrate(self, resource_id: str, method: str, integration: Document) -> None:
        self._backend.put_integration(
            self._api.id,
            resource_id,
            method,
            integration["type"].upper(),
            integration.get("uri"),
            integration.get("httpMethod"),
            credentials=integration.get("credentials"),
            request_templates=integration.get("requestTemplates"),
            request_parameters=integration.get("requestParameters"),
            passthrough_behavior=integration.get("passthroughBehavior", "when_no_match").upper(),
            content_handling=integration.get("contentHandling"),
            timeout_in_millis=integration.get("timeoutInMillis", 29_000),
        )
        for pattern, response in integration.get("responses", {}).items():
            self._backend.put_integration_response(
                self._api.id,
                resource_id,
                method,
                response["statusCode"],
                "" if pattern == "default" else pattern,
                response.get("responseTemplates", {}),
                response.get("responseParameters", {}),
            )


def _request_parameters(operation: Document) -> Iterator[tuple[str, bool]]:
    places = {"path": "path", "query": "querystring", "header": "header"}
    for parameter in operation.get("parameters", []):
        if place := places.get(parameter.get("in")):
            yield f"method.request.{place}.{parameter['name']}", parameter.get("required", False)


def _model(response: Document) -> str:
    return str(response["schema"].get("$ref", "")).rpartition("/")[2] or "Empty"


def _delete_rest_api(original: Function) -> Function:
    """What is not there is not found (moto: an internal error)."""

    def delete_rest_api(self: Any, api_id: str) -> Any:
        self.get_rest_api(api_id)
        return original(self, api_id)

    return delete_rest_api


def _create_deployment(original: Function) -> Function:
    """A deployment to a stage that is there leaves the stage's settings (moto: makes the stage anew)."""

    def create_deployment(self: Any, name: str, description: str, stage_variables: Any = None) -> Any:
        stage = self.stages.get(name)
        deployment = original(self, name, description, stage_variables)
        if stage:
            stage.deployment_id = deployment.id
            self.stages[name] = stage
        return deployment

    return create_deployment


def _answer_create_deployment(original: Function) -> Function:
    """A deployment says whether its stage is traced (moto: does not listen)."""

    def create_deployment(self: Any) -> Any:
        answer = original(self)
        traced = self._get_param("tracingEnabled")
        if traced is not None:
            api_id = self.path.split("/")[2]
            self.backend.get_stage(api_id, self._get_param("stageName")).tracing_enabled = traced
        return answer

    return create_deployment


def _answer_create_rest_api(original: Function) -> Function:
    """An import says the endpoint's type beside the document."""

    def create_rest_api(self: Any) -> Any:
        status, headers, body = original(self)
        if kind := self._get_param("endpointConfigurationTypes"):
            api = self.backend.get_rest_api(json.loads(body)["id"])
            api.endpoint_configuration = {"types": [kind]}
            body = json.dumps(api.to_dict())
        return status, headers, body

    return create_rest_api


def _put_gateway_response(original: Function) -> Function:
    """What is not said stays as API Gateway has it."""

    def put_gateway_response(
        self: Any,
        response_type: str,
        status_code: str | None,
        response_parameters: dict[str, str] | None,
        response_templates: dict[str, str] | None,
    ) -> Any:
        status_code = status_code or _STATUS_CODES[response_type]
        templates = response_templates or _MESSAGE
        return original(self, response_type, status_code, response_parameters or {}, templates)

    return put_gateway_response


def _get_gateway_response(original: Function) -> Function:
    """Every type has a response; one that was not set follows the default of its kind (moto: not found)."""

    def get_gateway_response(self: Any, response_type: str) -> Any:
        if response_type in self.gateway_responses or response_type not in _STATUS_CODES:
            return original(self, response_type)
        status = _STATUS_CODES[response_type]
        general = self.gateway_responses.get(f"DEFAULT_{status[0]}XX") if status else None
        response = apigateway_models.GatewayResponse(
            response_type,
            (general and general.status_code) or status,
            general.response_parameters if general else {},
            general.response_templates if general else _MESSAGE,
        )
        response.default_response = True
        return response

    return get_gateway_response


def _get_gateway_responses(original: Function) -> Function:  # noqa: ARG001 - it knows too little
    def get_gateway_responses(self: Any) -> list[Any]:
        return [self.get_gateway_response(response_type) for response_type in _STATUS_CODES]

    return get_gateway_responses
