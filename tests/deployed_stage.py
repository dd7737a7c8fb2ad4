"""What stands on AWS of a stage, read back through AWS's own APIs."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.awslambda.models import lambda_backends
from moto.core import DEFAULT_ACCOUNT_ID

_MAPPING = (
    "BatchSize",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "EventSourceArn",
    "FilterCriteria",
    "FunctionArn",
    "FunctionResponseTypes",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ScalingConfig",
    "UUID",
)
# Runs a handler as Lambda does: what it can import is the standard library and its own folder.
_INVOKE = """
import json, sys
folder, handler = sys.argv[1:]
known = (folder, *sys.path)
sys.path.insert(0, folder)
class Context:
    aws_request_id = "00000000-0000-0000-0000-000000000000"
    function_name = invoked_function_arn = "function"
    memory_limit_in_mb = 512
    def get_remaining_time_in_millis(self):
        return 60_000
module, _, name = handler.partition(".")
answer = getattr(__import__(module), name)(json.load(sys.stdin), Context())
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
foreign = [file for file in files if file and not file.startswith(known)]
print(json.dumps({"answer": answer, "foreign": foreign}))
"""


@dataclass(frozen=True)
class DeployedStage:
    session: boto3.Session
    name: str

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        listed = self._client("lambda").list_functions()["Functions"]
        return {each["FunctionName"]: each for each in listed if f"-{self.name}" in each["FunctionName"]}

    def permissions(self, function: str) -> list[dict[str, Any]]:
        client = self._client("lambda")
        try:
            policy = json.loads(client.get_policy(FunctionName=function)["Policy"])
        except client.exceptions.ResourceNotFoundException:  # it is polled for, and nobody calls it
            return []
        statements: list[dict[str, Any]] = policy["Statement"]
        return statements

    @property
    def policies(self) -> dict[str, dict[str, Any]]:
        """By role name, each with its inline policies."""
        iam = self._client("iam")
        roles = [
            role["RoleName"] for role in iam.list_roles()["Roles"] if f"-{self.name}-" in role["RoleName"]
        ]
        return {
            role: {
                policy: iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
            }
            for role in roles
        }

    def notification(self, bucket: str) -> list[dict[str, Any]]:
        answer = self._client("s3").get_bucket_notification_configuration(Bucket=bucket)
        # S3 gives each a new id whenever Chalice writes them
        return [_without(each, "Id") for each in answer.get("LambdaFunctionConfigurations", [])]

    @property
    def mappings(self) -> list[dict[str, Any]]:
        mappings = self._client("lambda").list_event_source_mappings()["EventSourceMappings"]
        ours = [each for each in mappings if f"-{self.name}" in each["FunctionArn"]]
        return [{name: each[name] for name in _MAPPING if name in each} for each in ours]

    def event_invoke_config(self, function: str) -> dict[str, Any]:
        config = self._client("lambda").get_function_event_invoke_config(FunctionName=function)
        return {
            name: config[name]
            for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
        }

    @property
    def apis(self) -> list[dict[str, Any]]:
        """The REST APIs that have an API stage of this name."""
        gateway = self._client("apigateway")
        return [
            api
            for api in gateway.get_rest_apis()["items"]
            if self.name in [stage["stageName"] for stage in gateway.get_stages(restApiId=api["id"])["item"]]
        ]

    @property
    def api(self) -> dict[str, Any]:
        """Its methods by path, each with its integration and authorization; its limits; its refusals."""
        [api] = self.apis
        gateway = self._client("apigateway")
        resources = gateway.get_resources(restApiId=api["id"], embed=["methods"], limit=500)["items"]
        stage = gateway.get_stage(restApiId=api["id"], stageName=self.name)
        responses = gateway.get_gateway_responses(restApiId=api["id"], limit=500)["items"]
        return {
            "id": api["id"],
            "endpoint": api["endpointConfiguration"]["types"],
            "methods": {
                f"{method} {resource['path']}": {
                    "authorization": described.get("authorizationType"),
                    "uri": described.get("methodIntegration", {}).get("uri"),
                }
                for resource in resources
                for method, described in resource.get("resourceMethods", {}).items()
            },
            "authorizers": [  # of which each deployment makes a new one
                _without(each, "id") for each in gateway.get_authorizers(restApiId=api["id"])["items"]
            ],
            "throttling": {
                path: (settings["throttlingRateLimit"], settings["throttlingBurstLimit"])
                for path, settings in stage.get("methodSettings", {}).items()
            },
            "responses": {
                each["responseType"]: each for each in responses if not each.get("defaultResponse")
            },
        }

    def snapshot(self, bucket: str) -> dict[str, Any]:
        """All that a second deployment must leave as it is."""
        described = ("Handler", "Runtime", "Timeout", "MemorySize", "Architectures", "Environment", "Role")
        return {
            "functions": {
                name: {field: each[field] for field in described} for name, each in self.functions.items()
            },
            "permissions": {name: self.permissions(name) for name in self.functions},
            "policies": self.policies,
            "notification": self.notification(bucket),
            "mappings": self.mappings,
            "api": self.api,
        }

    def unpack(self, function: str, folder: Path) -> Path:
        """The function's code as it was uploaded; moto has no address to fetch it from."""
        region = self.session.region_name
        code = lambda_backends[DEFAULT_ACCOUNT_ID][region].get_function(function).code_bytes
        with zipfile.ZipFile(io.BytesIO(code)) as package:
            package.extractall(folder)
        return folder

    def invoke(self, function: str, folder: Path, event: Mapping[str, Any], **variables: str) -> Any:
        """Run the function's handler in a process that has its code and environment and nothing else."""
        configuration = self.functions[function]
        python: str = sys._base_executable  # type: ignore[attr-defined]  # beneath the virtual environment
        done = subprocess.run(
            [python, "-I", "-S", "-B", "-c", _INVOKE, str(folder), configuration["Handler"]],
            input=json.dumps(event),
            env={**configuration["Environment"]["Variables"], **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        log = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, log
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["foreign"] == [], log
        return result["answer"]

    def _client(self, service: Any) -> Any:
        return self.session.client(service)


def _without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in document.items() if other != name}
