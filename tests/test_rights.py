from typing import Any

import pytest
from chalice import Chalice, Rate

from tests.rights import NEEDS, Right, arn, covers, functions

TABLE = arn("dynamodb", "table/images")


@pytest.mark.parametrize(
    ("pattern", "resource", "is_in"),
    [
        pytest.param("*", "arn:aws:s3:::b/k", True, id="everything"),
        pytest.param("*", "*", True, id="no resource"),
        pytest.param("arn:aws:s3:::b", "*", False, id="no resource by a resource"),
        pytest.param("arn:aws:s3:::b", "arn:aws:s3:::b", True, id="itself"),
        pytest.param("arn:aws:s3:::b", "arn:aws:s3:::B", False, id="case"),
        pytest.param("arn:aws:s3:::b/*", "arn:aws:s3:::b/", True, id="nothing for the star"),
        pytest.param("arn:aws:s3:::b/*", "arn:aws:s3:::b", False, id="the bucket for its objects"),
        pytest.param("arn:aws:s3:::b", "arn:aws:s3:::b/k", False, id="an object for its bucket"),
        pytest.param("arn:aws:s3:::b/*", "arn:aws:s3:::b/2026/a:b\n[1]🐕", True, id="odd characters"),
        pytest.param("arn:aws:s3:::b/[k]", "arn:aws:s3:::b/k", False, id="brackets are characters"),
        pytest.param("arn:aws:s3:::b/k.png", "arn:aws:s3:::b/k-png", False, id="a dot is a dot"),
        pytest.param("arn:aws:s3:::b/?", "arn:aws:s3:::b/k", True, id="one character"),
        pytest.param("arn:aws:s3:::b/?", "arn:aws:s3:::b/", False, id="no character"),
        pytest.param("arn:aws:s3:::b/?", "arn:aws:s3:::b/kk", False, id="two characters"),
        pytest.param("arn:aws:sqs:*:1:q", "arn:aws:sqs:eu-west-1:1:q", True, id="any region"),
        pytest.param("arn:aws:sqs:*:q", "arn:aws:sqs:eu-west-1:1:q", False, id="two parts for one star"),
        pytest.param("arn:aws:sqs:r:1:dev", "arn:aws:sqs:r:1:dev2", False, id="the beginning of a name"),
    ],
)
def test_a_star_stays_in_its_part_of_the_name(pattern: str, resource: str, is_in: bool) -> None:
    assert covers(Right("s3:GetObject", pattern), Right("s3:GetObject", resource)) is is_in


@pytest.mark.parametrize(
    ("pattern", "action", "is_same"),
    [
        pytest.param("s3:GetObject", "s3:GetObject", True, id="itself"),
        pytest.param("S3:getobject", "s3:GetObject", True, id="case"),
        pytest.param("s3:Get*", "s3:GetObject", True, id="star"),
        pytest.param("s3:GetObject", "s3:GetObjectVersion", False, id="the beginning"),
        pytest.param("s3:PutObject", "s3:GetObject", False, id="another"),
    ],
)
def test_an_action_is_the_same_in_any_case(pattern: str, action: str, is_same: bool) -> None:
    assert covers(Right(pattern, "*"), Right(action, "*")) is is_same


@pytest.mark.parametrize(
    ("operation", "params", "needed"),
    [
        pytest.param(
            "dynamodb.Query", {"TableName": "images"}, {Right("dynamodb:Query", TABLE)}, id="query of a table"
        ),
        pytest.param(
            "dynamodb.Query",
            {"TableName": "images", "IndexName": "by_label"},
            {Right("dynamodb:Query", f"{TABLE}/index/by_label")},
            id="query of an index",
        ),
        pytest.param(
            "dynamodb.TransactWriteItems",
            {
                "TransactItems": [
                    {"ConditionCheck": {"TableName": "state"}},
                    {"Delete": {"TableName": "images"}},
                    {"Put": {"TableName": "images"}},
                    {"Update": {"TableName": "images"}},
                ]
            },
            {
                Right("dynamodb:ConditionCheckItem", arn("dynamodb", "table/state")),
                Right("dynamodb:DeleteItem", TABLE),
                Right("dynamodb:PutItem", TABLE),
                Right("dynamodb:UpdateItem", TABLE),
            },
            id="transaction",
        ),
        pytest.param(
            "s3.GetObject",
            {"Bucket": "b", "Key": "k", "VersionId": "1"},
            {Right("s3:GetObjectVersion", "arn:aws:s3:::b/k"), Right("s3:ListBucket", "arn:aws:s3:::b")},
            id="a version",
        ),
        pytest.param(
            "s3.HeadObject",
            {"Bucket": "b", "Key": "k"},
            {Right("s3:GetObject", "arn:aws:s3:::b/k"), Right("s3:ListBucket", "arn:aws:s3:::b")},
            id="head",
        ),
        pytest.param(
            "rekognition.DetectLabels",
            {"Image": {"S3Object": {"Bucket": "b", "Name": "k"}}},
            {Right("rekognition:DetectLabels", "*"), Right("s3:GetObject", "arn:aws:s3:::b/k")},
            id="detection in an object",
        ),
        pytest.param(
            "rekognition.DetectLabels",
            {"Image": {"S3Object": {"Bucket": "b", "Name": "k", "Version": "1"}}},
            {Right("rekognition:DetectLabels", "*"), Right("s3:GetObjectVersion", "arn:aws:s3:::b/k")},
            id="detection in a version",
        ),
        pytest.param(
            "rekognition.DetectLabels",
            {"Image": {"Bytes": b""}},
            {Right("rekognition:DetectLabels", "*")},
            id="detection in bytes",
        ),
    ],
)
def test_a_call_needs_every_right_that_aws_asks_for(
    operation: str, params: dict[str, Any], needed: set[Right]
) -> None:
    assert set(NEEDS[operation](params)) == needed


def test_chalice_makes_a_function_of_the_routes_and_of_every_other_handler() -> None:
    app = Chalice("tiny", configure_logs=False)
    before = set(functions(app))
    app.route("/")(print)
    app.route("/other")(print)
    app.lambda_function(name="alone")(print)
    app.authorizer(name="token")(print)
    app.on_sqs_message(queue="q", name="queued")(print)
    app.schedule(Rate(1, Rate.MINUTES), name="timed")(print)

    assert before == set()
    assert set(functions(app)) == {"api_handler", "alone", "token", "queued", "timed"}
