"""What `chalice deploy` leaves on AWS, in parts, as it does when it ends half-way."""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import boto3

from ops.stage import APP, Stage

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
_ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["dynamodb:*", "sqs:*"], "Resource": "*"}],
}


@dataclass(frozen=True)
class Deployment:
    stage: Stage
    session: boto3.Session

    def client(self, service: Any) -> Any:
        return self.session.client(service)

    def role(self, handler: str) -> str:
        iam, name = self.client("iam"), self.stage.role_name(handler)
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(_ALLOW))
        return arn

    def function(self, handler: str, **tags: str) -> str:
        code = io.BytesIO()
        zipfile.ZipFile(code, "w").close()
        name = self.stage.function_name(handler)
        arn: str = self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=self.role(handler),
            Handler=f"app.{handler}",
            Code={"ZipFile": code.getvalue()},
            Architectures=["arm64"],
            MemorySize=512,
            Timeout=29,
            Tags=tags or {"aws-chalice": f"version=1.34.0:stage={self.stage.name}:app={APP}"},
        )["FunctionArn"]
        self.client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}")
        return arn

    def api(self, function_arn: str, *, deployed: bool = True, name: str = APP) -> str:
        gateway = self.client("apigateway")
        uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/" + function_arn + "/invocations"
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri}
        document = {
            "swagger": "2.0",
            "info": {"version": "1.0", "title": name},
            "paths": {"/health": {"get": {"x-amazon-apigateway-integration": integration}}},
        }
        api: str = gateway.import_rest_api(body=json.dumps(document))["id"]
        if deployed:
            gateway.create_deployment(restApiId=api, stageName=self.stage.name)
        return api

    def notification(self, bucket: str, function_arn: str) -> None:
        self.client("lambda").add_permission(
            FunctionName=function_arn,
            StatementId="s3",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=f"arn:aws:s3:::{bucket}",
        )
        s3 = self.client("s3")
        there = s3.get_bucket_notification_configuration(Bucket=bucket)
        functions = there.get("LambdaFunctionConfigurations", [])
        functions.append({"LambdaFunctionArn": function_arn, "Events": ["s3:ObjectCreated:*"]})
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": functions}
        )

    def schedule(self, handler: str, function_arn: str) -> None:
        events, name = self.client("events"), f"{self.stage.prefix}-{handler}-event"
        events.put_rule(Name=name, ScheduleExpression="rate(1 minute)")
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function_arn}])

    def event_source(self, function_arn: str, source_arn: str, **settings: Any) -> str:
        mapping = self.client("lambda").create_event_source_mapping(
            FunctionName=function_arn, EventSourceArn=source_arn, **settings
        )
        return str(mapping["UUID"])
