from pathlib import Path
from typing import Any

import boto3
import pytest

from local_cloud import resources
from local_cloud.endpoint import Endpoint

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Stage: {Type: String}
Resources:
  Images:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Sub "image-labeller-${Stage}-images-${AWS::AccountId}"
      VersioningConfiguration: {Status: Enabled}
      PublicAccessBlockConfiguration:
        {BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}
      CorsConfiguration:
        CorsRules:
          - AllowedMethods: [PUT]
            AllowedOrigins: [!Sub "https://${Stage}.example"]
            AllowedHeaders: ["*"]
            ExposedHeaders: [ETag]
            MaxAge: 3000
  Rows:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub "image-labeller-${Stage}-rows"
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - {AttributeName: file, AttributeType: S}
      KeySchema:
        - {AttributeName: file, KeyType: HASH}
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub "image-labeller-${Stage}-labelling"
      VisibilityTimeout: 360
Outputs:
  ImagesBucket: {Value: !Ref Images}
  RowsStreamArn: {Value: !GetAtt Rows.StreamArn}
  QueueUrl: {Value: !Ref Queue}
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "resources.yaml"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture
def outputs(endpoint: Endpoint, session: boto3.Session, name: str, template: Path) -> dict[str, str]:
    return resources.create(session, name, template, endpoint_url=endpoint.url)


def test_the_outputs_name_what_was_made(outputs: dict[str, str], name: str) -> None:
    assert outputs["ImagesBucket"] == f"image-labeller-{name}-images-123456789012"
    assert outputs["RowsStreamArn"].startswith(
        f"arn:aws:dynamodb:us-east-1:123456789012:table/image-labeller-{name}-rows/stream/"
    )
    assert outputs["QueueUrl"].endswith(f"/123456789012/image-labeller-{name}-labelling")


def test_buckets_are_as_the_template_says(s3: Any, outputs: dict[str, str], name: str) -> None:
    bucket = {"Bucket": outputs["ImagesBucket"]}

    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    assert s3.get_bucket_cors(**bucket)["CORSRules"] == [
        {
            "AllowedMethods": ["PUT"],
            "AllowedOrigins": [f"https://{name}.example"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 3000,
        }
    ]
    assert s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }


def test_tables_are_as_the_template_says(dynamodb: Any, outputs: dict[str, str], name: str) -> None:
    table = {"TableName": f"image-labeller-{name}-rows"}

    described = dynamodb.describe_time_to_live(**table)["TimeToLiveDescription"]
    recovery = dynamodb.describe_continuous_backups(**table)["ContinuousBackupsDescription"]

    assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert dynamodb.describe_table(**table)["Table"]["LatestStreamArn"] == outputs["RowsStreamArn"]


def test_the_queue_is_reached_by_its_output_and_is_as_the_template_says(
    sqs: Any, outputs: dict[str, str]
) -> None:
    sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="hello")

    found = sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    assert (found["VisibilityTimeout"], found["ApproximateNumberOfMessages"]) == ("360", "1")


def test_making_them_again_changes_nothing_and_loses_nothing(
    endpoint: Endpoint, session: boto3.Session, s3: Any, outputs: dict[str, str], name: str, template: Path
) -> None:
    s3.put_object(Bucket=outputs["ImagesBucket"], Key="a", Body=b"x")

    again = resources.create(session, name, template, endpoint_url=endpoint.url)

    assert again == outputs
    assert s3.list_objects_v2(Bucket=outputs["ImagesBucket"])["KeyCount"] == 1


def test_a_changed_template_updates_what_is_there(
    endpoint: Endpoint,
    session: boto3.Session,
    dynamodb: Any,
    outputs: dict[str, str],
    name: str,
    template: Path,
) -> None:
    template.write_text(TEMPLATE.replace("expires_at", "gone_at"))

    assert resources.create(session, name, template, endpoint_url=endpoint.url) == outputs

    ttl = dynamodb.describe_time_to_live(TableName=f"image-labeller-{name}-rows")["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "gone_at"


def test_what_cannot_be_made_is_told(
    endpoint: Endpoint, session: boto3.Session, s3: Any, name: str, template: Path
) -> None:
    s3.create_bucket(Bucket=f"image-labeller-{name}-images-123456789012")

    with pytest.raises(resources.StackError, match=r"^Images: .*already exists"):
        resources.create(session, name, template, endpoint_url=endpoint.url)


def test_a_template_can_be_given_by_its_url(
    endpoint: Endpoint, session: boto3.Session, s3: Any, name: str, template: Path
) -> None:
    s3.create_bucket(Bucket=f"{name}-templates")
    s3.upload_file(str(template), f"{name}-templates", "resources.yaml")
    url = f"https://s3.amazonaws.com/{name}-templates/resources.yaml"

    outputs = resources.create(session, name, url, endpoint_url=endpoint.url)

    assert outputs["ImagesBucket"] == f"image-labeller-{name}-images-123456789012"
